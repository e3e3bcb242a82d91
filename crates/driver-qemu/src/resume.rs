//! Starting a guest from a memory image.
//!
//! ```text
//! fits? ─ turn ─ spawn, waiting ─ mark ─┬─ load the devices ─ links down ─┬─ go on
//!                                   spawned                           loaded
//! ```
//! The mark is durable before the guest executes anything: a second start from the same image
//! would give an old memory a newer disk. It is made while QEMU builds its devices, also where the
//! guest is only prepared, so that going on later waits for no disk; [`crate::hold`] has what takes
//! it back. How a process that was found is brought on is in [`crate::settle`].

use crate::argv::{self, HostFacts, Machine};
use crate::hold;
use crate::host::Host;
use crate::place::Place;
use crate::program::{Version, parse_number};
use crate::qmp::Qmp;
use crate::wire::{Deadline, WireError};
use stampo_driver::memory_image::already_resumed;
use stampo_driver::{DriverError, GuestDefinition, MemoryImage, MemoryImageDir};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

/// The driver's name in manifests.
pub(crate) const DRIVER: &str = "qemu";

/// The first QEMU that opens a memory file for reading only and still gives the guest private
/// memory of it (`rom=off`), and that saves to and loads from a file by its name (`file:`).
pub(crate) const READS_ONLY: Version = Version(8, 2, 0);

/// Refuses a guest that can't be started from this image here, before anything is done.
pub(crate) fn check(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
    dir: &MemoryImageDir,
) -> Result<MemoryImage, DriverError> {
    if hold::may_have_run(place)? {
        return Err(already_resumed(guest));
    }
    let image = dir.complete()?;
    check_qemu(&image, host, dir)?;
    let facts = host.facts(Some(&image.machine_type))?;
    let lines = lines(&argv::build(guest, place, &facts)?, &facts);
    dir.check_fits(&image, DRIVER, &lines, guest)?;
    Ok(image)
}

/// A machine's lines, with the processor where the guest sees the host's own.
pub(crate) fn lines(args: &[String], facts: &HostFacts) -> Vec<String> {
    let mut lines = Machine::read(args).lines;
    lines.extend(
        facts
            .processor
            .map(|processor| format!("processor {processor}")),
    );
    lines
}

fn check_qemu(image: &MemoryImage, host: &Host, dir: &MemoryImageDir) -> Result<(), DriverError> {
    let mut differs = Vec::new();
    let (here, there) = (host.qemu()?.version, parse_number(&image.version));
    if there.is_none_or(|there| here < there) {
        differs.push(format!(
            "QEMU {} made it, and here is {here}",
            image.version
        ));
    }
    if !host.machines()?.has(&image.machine_type) {
        differs.push(format!("QEMU {here} has no machine {}", image.machine_type));
    }
    if differs.is_empty() {
        return Ok(());
    }
    Err(DriverError::Unfit {
        image: dir.path().to_owned(),
        differs,
    })
}

/// Loads the image into a QEMU that waits for it. The guest executes nothing yet.
pub(crate) fn load(
    qmp: &mut Qmp,
    host: &Host,
    dir: &MemoryImageDir,
    deadline: Deadline,
) -> Result<(), DriverError> {
    let failed = |error: WireError| DriverError::Program {
        program: "qemu".to_owned(),
        why: format!("the memory image was not loaded: {error}"),
    };
    let path = dir.state();
    let state = File::open(&path).map_err(DriverError::io("open", &path))?;
    let by_name = host.qemu()?.version >= READS_ONLY;
    qmp.prepare_migration(deadline).map_err(failed)?;
    qmp.load(&path, (!by_name).then_some(&state), deadline)
        .map_err(failed)
}

/// Tells a QEMU that waits for an image which kind of image it will be; may be repeated.
pub(crate) fn expect(qmp: &mut Qmp, deadline: Deadline) -> Result<(), DriverError> {
    qmp.prepare_migration(deadline)
        .map_err(|error| DriverError::Program {
            program: "qemu".to_owned(),
            why: format!("it does not wait for a memory image: {error}"),
        })
}

/// One of as many turns as there are processors: resumes that run at once beyond that only slow
/// each other down. The turn ends when the file is dropped, or this process ends.
pub(crate) fn turn(dir: &Path, deadline: Deadline) -> Result<File, DriverError> {
    use rustix::fs::{FlockOperation, flock};
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    loop {
        for number in 0..count {
            let path = dir.join(format!(".resume-{number}.lock"));
            let mut options = fs::OpenOptions::new();
            let opened = options.create(true).append(true).open(&path);
            let file = opened.map_err(DriverError::io("open", &path))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(file);
            }
        }
        if !deadline.sleep(Duration::from_millis(2)) {
            return Err(DriverError::Busy {
                resource: "a turn to resume a guest".to_owned(),
                why: "other guests are being resumed all the time".to_owned(),
            });
        }
    }
}
