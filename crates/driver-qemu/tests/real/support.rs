//! A place for real guests that are boot sectors, and that are all gone when the test ends.

use crate::monitor;
use stampo_core::hardware::{Hardware, NicModel};
use stampo_core::ids::GuestId;
use stampo_core::network::Mac;
use stampo_core::size::ByteSize;
use stampo_driver::conformance::{Fixture, Temper};
use stampo_driver::{Disk, DiskFormat, Driver, GuestDefinition, Link, NicDefinition, Power, Start};
use stampo_driver_qemu::{AccelerationChoice, Options, QemuDriver};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// A guest that enables the power button's event (ACPI 6.5, section 4.8.3.1; SeaBIOS puts q35's
/// registers at 0x600), says "ready" on the serial port, and waits for it.
const POLITE: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, // xor ax, ax; mov ds, ax
    0xba, 0x02, 0x06, // mov dx, 0x602: PM1a_EN
    0xb8, 0x00, 0x01, // mov ax, 0x100: PWRBTN_EN
    0xef, // out dx, ax
    0xbe, 0x40, 0x7c, // mov si, 0x7c40
    0xba, 0xf8, 0x03, // mov dx, 0x3f8
    // say: at 0x11
    0xac, // lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x03, // jz wait
    0xee, // out dx, al
    0xeb, 0xf8, // jmp say
    // wait: at 0x19
    0xfb, 0xf4, // sti; hlt
    0xba, 0x00, 0x06, // mov dx, 0x600: PM1a_STS
    0xed, // in ax, dx
    0xf6, 0xc4, 0x01, // test ah, 1: PWRBTN_STS
    0x74, 0xf5, // jz wait
    0xba, 0x04, 0x06, // mov dx, 0x604: PM1a_CNT
    0xb8, 0x00, 0x20, // mov ax, 0x2000: SLP_EN, type 0 = S5
    0xef, // out dx, ax
    0xeb, 0xec, // jmp wait
];

/// A guest that hears nothing: `cli; hlt; jmp`.
const DEAF: &[u8] = &[0xfa, 0xf4, 0xeb, 0xfd];

/// A guests' directory on the real QEMU.
pub struct Ground {
    home: TempDir,
    guests_dir: PathBuf,
}

impl Ground {
    pub fn new() -> Self {
        Self::below("guests")
    }

    /// With the guests' directory at this path below a temporary one.
    pub fn below(path: impl AsRef<Path>) -> Self {
        let home = tempfile::Builder::new()
            .prefix("sq")
            .tempdir()
            .expect("a temporary directory");
        let guests_dir = home.path().canonicalize().expect("it exists").join(path);
        Ground { home, guests_dir }
    }

    pub fn driver(&self) -> QemuDriver {
        open(&self.guests_dir)
    }

    /// A directory for what the tests make beside the guests.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn guest_dir(&self, id: GuestId) -> PathBuf {
        self.guests_dir.join(id.to_string())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let driver = self.driver();
        for id in driver.list().unwrap_or_default() {
            if let Err(error) = driver.ensure_undefined(id) {
                eprintln!("guest {id} may still run: {error}");
            }
        }
    }
}

fn boot_sector(temper: Temper) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    let code = if temper == Temper::Polite {
        POLITE
    } else {
        DEAF
    };
    disk[..code.len()].copy_from_slice(code);
    disk[0x40..0x46].copy_from_slice(b"ready\n");
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

impl Fixture for Ground {
    fn open(&self) -> Box<dyn Driver> {
        Box::new(self.driver())
    }

    fn guest(&self, temper: Temper) -> GuestDefinition {
        let id = GuestId(Uuid::new_v4());
        let directory = self.guest_dir(id);
        fs::create_dir_all(&directory).expect("the directory can be made");
        let path = directory.join("disk.raw");
        fs::write(&path, boot_sector(temper)).expect("the disk can be written");
        let [a, b, c, d, ..] = *id.0.as_bytes();
        GuestDefinition {
            id,
            name: format!("{temper:?}-{}", &id.to_string()[..4]).to_ascii_lowercase(),
            directory,
            hardware: Hardware {
                memory: ByteSize::mib(64),
                ..Hardware::default()
            },
            disks: vec![Disk {
                path,
                format: DiskFormat::Raw,
                backing: None,
                layers: Vec::new(),
                serial: "root".to_owned(),
            }],
            seed: None,
            nics: vec![NicDefinition {
                mac: Mac::from_random([a, b, c, d]),
                model: NicModel::Virtio,
                link: Link::User {
                    ssh_port: None,
                    guest_address: None,
                },
            }],
            generation_id: Uuid::new_v4(),
            serial: "S,1".to_owned(),
            provenance: "stampo:template=test@1;image=none".to_owned(),
            start: Start::Boot,
        }
    }

    fn crash(&self, id: GuestId) {
        let Ok(Power::Running { pid, .. } | Power::Paused { pid, .. }) = self.driver().observe(id)
        else {
            panic!("the process of guest {id} must be there")
        };
        signal("KILL", pid);
    }

    fn image_dir(&self) -> PathBuf {
        let name = format!("image-{}", Uuid::new_v4().simple());
        self.guests_dir.with_file_name(name)
    }

    fn links_are_up(&self, id: GuestId) -> bool {
        monitor::link_is_up(&self.driver().definition(id).expect("defined"))
    }
}

/// Sends a signal to a process that was just seen.
pub fn signal(name: &str, pid: u32) {
    let status = std::process::Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

/// A driver that emulates, on this directory.
pub fn open(guests_dir: &Path) -> QemuDriver {
    let options = Options {
        acceleration: AccelerationChoice::Tcg,
        ..Options::default()
    };
    QemuDriver::open(guests_dir, options).expect("the directory can be made")
}

/// A driver that emulates, with this program for QEMU.
pub fn open_with(ground: &Ground, qemu: PathBuf) -> QemuDriver {
    let options = Options {
        acceleration: AccelerationChoice::Tcg,
        qemu: Some(qemu),
        ..Options::default()
    };
    QemuDriver::open(&ground.guests_dir, options).expect("the directory can be made")
}

/// The processes whose arguments name the guest's directory, or that work in it.
pub fn processes_of(guest: &GuestDefinition) -> usize {
    let dir = guest.directory.to_str().expect("UTF-8").as_bytes();
    let entries = fs::read_dir("/proc").expect("listed").flatten();
    let of_guest = |entry: &fs::DirEntry| {
        let cwd = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == guest.directory);
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        !line.is_empty() && (cwd || line.windows(dir.len()).any(|window| window == dir))
    };
    entries.filter(of_guest).count()
}

/// The process id of a guest that must be running.
pub fn pid(driver: &dyn Driver, guest: &GuestDefinition) -> u32 {
    match driver.observe(guest.id).expect("observe answers") {
        Power::Running { pid, .. } => pid,
        other => panic!("the guest must be running, but is {other:?}"),
    }
}

/// Waits for something that needs a moment.
pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A guest that is defined and runs.
pub fn started(ground: &Ground, temper: Temper) -> GuestDefinition {
    let (driver, guest) = (ground.driver(), ground.guest(temper));
    driver.ensure_defined(&guest).expect("defined");
    driver.ensure_running(guest.id).expect("started");
    guest
}
