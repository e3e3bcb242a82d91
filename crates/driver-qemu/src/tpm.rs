//! A TPM 2.0 for one guest: an `swtpm` with a state directory of its own.
//!
//! It ends by itself when QEMU closes the connection (`--terminate`). An `swtpm` that QEMU never
//! came to is ended in the same way: by connecting once.

use crate::place::Place;
use crate::program;
use stampo_driver::DriverError;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
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

/// Starts the TPM; it waits for QEMU at the place's socket.
pub(crate) fn start(place: &Place, swtpm: &Path) -> Result<(), DriverError> {
    ensure_state(place)?;
    // Relative names: a socket address is short, and commas in the path would need quoting.
    let args = [
        "socket",
        "--tpm2",
        "--tpmstate",
        "dir=tpm,mode=0600",
        "--ctrl",
        "type=unixio,path=tpm.sock,mode=0600",
    ];
    let args = args
        .into_iter()
        .chain(["--log", "file=tpm/log", "--terminate", "--daemon"]);
    let args: Vec<&OsStr> = args.map(OsStr::new).collect();
    program::run_ok(swtpm, &args, place.dir(), LIMIT).map(drop)
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
