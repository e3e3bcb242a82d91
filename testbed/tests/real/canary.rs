//! Canaries: markers in a draft's files, to be looked for in what is made of it.
//!
//! Most are where sealing takes secrets away; they must be in nothing that is made afterwards. One
//! is in a file that stays and that every start reads: if it were not found in a memory image, the
//! search would be worth nothing.

use stampo_testbed::Stampo;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files that sealing removes.
const REMOVED: [&str; 3] = [
    "/root/.bash_history",
    "/tmp/canary",
    "/etc/ssh/ssh_host_canary_key",
];
/// A file that stays; systemd-sysctl reads it at every start.
const STAYS: &str = "/etc/sysctl.d/99-canary.conf";

/// The markers of one disk.
pub struct Canaries {
    token: String,
}

impl Canaries {
    /// Publishes a copy of a recipe's disk with canaries in it.
    pub fn publish(stampo: &Stampo, name: &str, recipe: &str) -> Self {
        let disk = stampo.path("canaries.raw");
        let from = stampo.shared_disk(recipe);
        let copied = Command::new("cp")
            .arg("--sparse=always")
            .args([&from, &disk])
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "copied");
        let token = format!("{:032x}", rand::random::<u128>());
        let canaries = Canaries { token };
        for place in REMOVED.iter().chain([&STAYS]) {
            canaries.plant(stampo, &disk, place);
        }
        for place in REMOVED {
            assert!(holds(&disk, &canaries.marker(place)), "{place} is planted");
        }
        stampo.publish_disk(name, &disk);
        std::fs::remove_file(&disk).expect("removed");
        canaries
    }

    /// A text that is nowhere else: as long as what sealing takes samples of, and varied.
    fn marker(&self, place: &str) -> String {
        let name = place.rsplit('/').next().expect("a name");
        format!("canary-{}-{name}", self.token)
    }

    /// debugfs(8) writes a new file into the first partition, which built disks begin at 1 MiB.
    fn plant(&self, stampo: &Stampo, disk: &Path, place: &str) {
        let file = stampo.path("canary");
        // As a comment where the file is read; sealing takes no samples of comments.
        let mark = if place == STAYS { "# " } else { "" };
        std::fs::write(&file, format!("{mark}{}\n", self.marker(place))).expect("written");
        let start = stampo_guest::fs::find_root(std::sync::Arc::new(
            stampo_image::raw::RawFile::open_read_only(disk).expect("a disk"),
        ));
        let start = start.expect("a root").start_bytes;
        let planted = Command::new("/usr/sbin/debugfs")
            .args(["-w", "-R", &format!("write {} {place}", file.display())])
            .arg(format!("{}?offset={start}", disk.display()))
            .output()
            .expect("debugfs can't be started: apt install e2fsprogs");
        let said = String::from_utf8_lossy(&planted.stderr);
        assert!(planted.status.success(), "{place}: {said}");
    }

    /// None of the removed ones is in any of these files, and the one that stays is in the first.
    pub fn assert_absent(&self, files: &[PathBuf]) {
        for file in files {
            for place in REMOVED {
                let found = holds(file, &self.marker(place));
                assert!(!found, "what was in {place} is in {}", file.display());
            }
        }
        let found = holds(&files[0], &self.marker(STAYS));
        assert!(found, "{STAYS} is not in {}", files[0].display());
    }
}

/// Whether a file has these bytes in one piece.
fn holds(file: &Path, text: &str) -> bool {
    let found = Command::new("grep")
        .args(["--quiet", "--text", "--fixed-strings", text])
        .arg(file)
        .env("LC_ALL", "C")
        .status();
    match found.expect("grep starts").code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("grep in {}: {other:?}", file.display()),
    }
}
