//! A TPM 2.0 for one guest: an `swtpm` with a state directory of its own.
//!
//! It ends by itself when QEMU closes the connection (`--terminate`). An `swtpm` that QEMU never
//! came to is ended in the same way: by connecting once.

use crate::place::Place;
use crate::wire::{Deadline, printable};
use stampo_driver::DriverError;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long `swtpm` may take until its socket is there.
const LIMIT: Duration = Duration::from_secs(20);

/// Makes the state directory. `swtpm` fills it at the first start, with seeds of its own.
pub(crate) fn ensure_state(place: &Place) -> Result<(), DriverError> {
    let dir = place.tpm_dir();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(DriverError::io("create", &dir))
}

/// Starts the TPM; it waits for QEMU at the place's socket. The child is given back to be reaped.
pub(crate) fn start(place: &Place, swtpm: &Path) -> Result<Child, DriverError> {
    ensure_state(place)?;
    let failed = |why: String| DriverError::Program {
        program: "swtpm".to_owned(),
        why,
    };
    // Relative names, since commas in a path can't be quoted here; and so not `--daemon`, which
    // leaves the directory.
    let mut command = Command::new("setsid");
    command
        .arg(swtpm)
        .args(["socket", "--tpm2", "--tpmstate", "dir=tpm,mode=0600"]);
    command.args([
        "--ctrl",
        "type=unixio,path=tpm.sock,mode=0600",
        "--log",
        "file=tpm/log",
        "--terminate",
    ]);
    command
        .current_dir(place.dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    let deadline = Deadline::after(LIMIT);
    while !place.tpm_socket().exists() {
        let ended = child.try_wait().map_err(|e| failed(e.to_string()))?;
        if ended.is_none() && deadline.sleep(Duration::from_millis(5)) {
            continue;
        }
        // Still unreaped when it has not ended: its id can't belong to another process.
        let _ = child.kill();
        let _ = child.wait();
        let log = std::fs::read_to_string(place.tpm_dir().join("log")).unwrap_or_default();
        return Err(failed(format!(
            "its socket did not appear: {}",
            printable(&log)
        )));
    }
    Ok(child)
}

/// Ends a TPM that nobody is connected to, if there is one.
pub(crate) fn dismiss(place: &Place) {
    // Whoever can't be connected to has ended already.
    let _ = stampo_driver::socket::connect(&place.tpm_socket(), Duration::from_millis(200));
}

/// The refusal for a host without a TPM emulator.
pub(crate) fn missing() -> DriverError {
    DriverError::Unsupported {
        what: "give a guest a TPM".to_owned(),
        why: "swtpm is not installed; on Debian: apt install swtpm".to_owned(),
    }
}
