//! What a user does with an image, from import to passport, each command watched.

use crate::allowed::Allowed;
use crate::cases::{Case, End};
use crate::tree::CANARY_TEXT;
use crate::watch::{self, Ran};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A command of the chain; a case is refused at one of them or at none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Import,
    Inspect,
    Plan,
    Seal,
    Publish,
    Clone,
}

/// What every clone is given: a bit of everything that is written.
const SPEC: &str = r#"
disk_size = "1G"
domain = "example.org"
time_zone = "Europe/Rome"
ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPpWJc5gE0QmPYLZmSDN5ziqvUwGUAqrP2jWMVd4xK6e me@host"]
first_boot_script = "script"
start = false

[network]
address = "192.0.2.10/24"

[[users]]
name = "app"
sudo = true

[[files]]
path = "/etc/motd"
text = "made to order\n"
"#;

/// A home in which one case after the other is worked on.
pub struct Lab {
    dir: tempfile::TempDir,
    /// The host's own directory that guests name.
    outside: PathBuf,
    program: PathBuf,
    allowed: Allowed,
    /// The largest process so far, and the one that lived longest.
    pub peak_kib: u64,
    pub life: Duration,
}

impl Lab {
    pub fn new() -> Lab {
        let dir = tempfile::Builder::new()
            .prefix("hostile-")
            .tempdir()
            .expect("a directory");
        let own = dir.path().join("own");
        let outside = dir.path().join("outside");
        std::fs::create_dir(&own).expect("a directory");
        std::fs::create_dir(&outside).expect("a directory");
        std::fs::write(outside.join("secret"), CANARY_TEXT).expect("written");
        std::fs::write(own.join("spec.toml"), SPEC).expect("written");
        std::fs::write(own.join("script"), "#!/bin/sh\ntrue\n").expect("written");
        let program = PathBuf::from(env!("CARGO_BIN_EXE_stampo"));
        let allowed = Allowed::new(&own, &program);
        Lab {
            dir,
            outside,
            program,
            allowed,
            peak_kib: 0,
            life: Duration::ZERO,
        }
    }

    fn own(&self) -> PathBuf {
        self.dir.path().join("own")
    }

    fn stampo(&mut self, args: &[&str], wrong: &mut Vec<String>) -> Ran {
        let ran = watch::run(&self.own(), &self.program, args, &self.allowed);
        self.peak_kib = self.peak_kib.max(ran.peak_kib);
        self.life = self.life.max(ran.life);
        let verb = args.join(" ");
        wrong.extend(
            ran.complaints()
                .into_iter()
                .map(|what| format!("{verb}: {what}")),
        );
        ran
    }

    /// Takes one case through; everything that was not as it should be.
    pub fn take(&mut self, case: &Case) -> Vec<String> {
        let mut wrong = Vec::new();
        let disk = self.own().join("disk.img");
        let _ = std::fs::remove_file(&disk);
        case.make(&self.outside, &disk);
        let refused = self.commands(case, &mut wrong);
        match (case.end, refused) {
            (End::Refused(step, why), Some((at, ran))) => {
                let said = ran.stderr.trim().to_owned() + &ran.stdout;
                if at != step || !said.contains(why) {
                    wrong.push(format!("not {step:?} because {why:?}, but {at:?}: {said}"));
                }
            }
            (End::Cloned, Some((at, ran))) => {
                wrong.push(format!("refused at {at:?}: {}{}", ran.stderr, ran.stdout));
            }
            (End::Refused(step, why), None) => {
                wrong.push(format!("taken, and not refused at {step:?}: {why}"));
            }
            (End::Cloned, None) => self.look_into(case, &mut wrong),
        }
        self.clear_up(&mut wrong);
        wrong
    }

    /// The commands in order, to the first that is refused.
    fn commands(&mut self, case: &Case, wrong: &mut Vec<String>) -> Option<(Step, Ran)> {
        use Step::{Clone, Import, Inspect, Plan, Publish, Seal};
        let import = [
            "template",
            "import",
            "web",
            "disk.img",
            "--format",
            case.format,
        ];
        let commands: [(Step, &[&str]); 9] = [
            (Import, &import),
            (Inspect, &["template", "inspect", "web"]),
            (Inspect, &["template", "inspect", "web", "-o", "json"]),
            (Plan, &["template", "seal", "web", "--dry-run"]),
            (Seal, &["template", "seal", "web"]),
            (Publish, &["template", "publish", "web"]),
            (Clone, &["clone", "web", "app", "--spec", "spec.toml"]),
            (Clone, &["passport", "app", "-o", "wide"]),
            (Clone, &["show", "app"]),
        ];
        for (step, args) in commands {
            let ran = self.stampo(args, wrong);
            // A sealed version with open findings is refused when it is published.
            let open = step == Seal && ran.code == 4;
            if ran.code != 0 && !open {
                if ran.stdout.is_empty() && !ran.stderr.contains("stampo: failed to ") {
                    wrong.push(format!("{args:?} does not say what failed: {ran:?}"));
                }
                return Some((step, ran));
            }
            if open {
                let found = ran.stdout.clone();
                let mut published = self.stampo(&["template", "publish", "web"], wrong);
                if published.code != 4 {
                    wrong.push(format!("published with open findings: {found}"));
                }
                published.stdout = found;
                return Some((Publish, published));
            }
        }
        None
    }

    /// The clone holds what it should.
    fn look_into(&mut self, case: &Case, wrong: &mut Vec<String>) {
        let usual = [("/etc/hostname", "app"), ("/etc/motd", "made to order\n")];
        for (path, expected) in usual.iter().chain(case.holds) {
            let copy = self.own().join("copy");
            let _ = std::fs::remove_file(&copy);
            let ran = self.stampo(&["cp", &format!("app:{path}"), "copy"], wrong);
            let found = std::fs::read(&copy).unwrap_or_default();
            let found = String::from_utf8_lossy(&found);
            if ran.code != 0 || !found.contains(expected) {
                wrong.push(format!(
                    "{path} holds {found:?}, not {expected:?}: {}",
                    ran.stderr
                ));
            }
        }
    }

    /// Removes what was made; nothing may be left, and nothing of the host may have changed.
    fn clear_up(&mut self, wrong: &mut Vec<String>) {
        for args in [
            &["rm", "app"][..],
            &["template", "retire", "web"],
            &["template", "purge", "web"],
            &["template", "ls", "--all", "-o", "wide"],
        ] {
            self.stampo(args, wrong);
        }
        for name in ["images", "guests", "staging", "trash"] {
            let left = entries(&self.own().join("home").join(name));
            if !left.is_empty() {
                wrong.push(format!("left in {name}: {left:?}"));
            }
        }
        let secret = std::fs::read_to_string(self.outside.join("secret"));
        if secret.ok().as_deref() != Some(CANARY_TEXT) || entries(&self.outside).len() != 1 {
            wrong.push("the host's own directory was changed".to_owned());
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(dir).into_iter().flatten().flatten();
    listed.map(|entry| entry.path()).collect()
}
