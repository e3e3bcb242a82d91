//! The place of the benchmarks: the release binary, a home, and the guests that are worked on.
//!
//! ```text
//! target/bench/home/            stampo's home: `plain` and `cloud`, published
//!             /guests/*.raw     the same disks as built, before they were sealed
//!             /guests/*.qcow2   … as qcow2
//!             /work/            what rounds make; emptied at each start
//! ```
//!
//! The disks are built once with stampo's own build and kept, since that takes minutes.

use super::program::{self, command, output};
use super::project;
use anyhow::{Context, Result, ensure};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The guest of most rows.
pub const PLAIN: &str = "plain";
/// The same with cloud-init.
pub const CLOUD: &str = "cloud";

/// Debian 12 with enough packages to be a usual server: 735 MiB of data when this was written.
const RECIPE: &str = r#"
release = "bookworm"
packages = ["sudo", "nginx-light", "python3", "git", "vim", "build-essential"]
[disk]
size = "3G"
[hardware]
cpus = 2
memory = "1G"
"#;
/// What clones get, said again when the disk is taken in.
const HARDWARE: [&str; 4] = ["--cpus", "2", "--memory", "1G"];

/// The place.
pub struct Lab {
    dir: PathBuf,
    program: PathBuf,
    /// While memory is measured: where the sizes are noted.
    noted: RefCell<Option<PathBuf>>,
    /// Held: two benchmarks at once would empty each other's directory and spoil the figures.
    _lock: fs::File,
}

impl Drop for Lab {
    /// A benchmark that failed leaves no guests that run: nobody would end them.
    fn drop(&mut self) {
        let listed = self.stampo(&["ps", "-o", "json"]).output();
        let listed = listed
            .ok()
            .and_then(|said| serde_json::from_slice(&said.stdout).ok());
        let listed: Vec<serde_json::Value> = listed.unwrap_or_default();
        let is_running = |guest: &&serde_json::Value| guest["power"] == "running";
        let running = listed.iter().filter(is_running);
        let names: Vec<&str> = running.filter_map(|guest| guest["name"].as_str()).collect();
        if !names.is_empty() {
            // Why the benchmark failed is more than why this did.
            let _ = self
                .stampo(&[&["rm", "--force"], &names[..]].concat())
                .output();
        }
    }
}

impl Lab {
    /// Builds stampo, and the guests that are missing.
    pub fn open() -> Result<Lab> {
        let lab = Lab::open_without_guests()?;
        lab.ensure_key()?;
        lab.ensure_guest(PLAIN, "")?;
        lab.ensure_guest(CLOUD, "cloud_init = true\n")?;
        Ok(lab)
    }

    /// Builds stampo, with an empty home.
    pub fn open_without_guests() -> Result<Lab> {
        eprintln!("building stampo");
        let mut cargo = command(&[
            "cargo",
            "build",
            "--release",
            "--locked",
            "-p",
            "stampo-cli",
        ]);
        output(cargo.current_dir(project()))?;
        let target = project().join("target");
        let dir = target.join("bench");
        fs::create_dir_all(&dir)?;
        let lock = fs::File::create(dir.join("lock"))?;
        ensure!(lock.try_lock().is_ok(), "another benchmark runs");
        let lab = Lab {
            dir,
            program: target.join("release/stampo"),
            noted: RefCell::new(None),
            _lock: lock,
        };
        let work = lab.work();
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        fs::create_dir_all(&work)?;
        fs::create_dir_all(lab.dir.join("guests"))?;
        // Made anew each time, by the stampo that is measured.
        if lab.home().exists() {
            fs::remove_dir_all(lab.home())?;
        }
        Ok(lab)
    }

    /// Everything of the benchmarks.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where rounds make their files.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// A path there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// The private ssh key that guests are made for.
    pub fn key(&self) -> PathBuf {
        self.dir.join("key")
    }

    /// The public half.
    pub fn public_key(&self) -> String {
        self.key().with_extension("pub").display().to_string()
    }

    /// A guest's disk as it was built.
    pub fn disk(&self, guest: &str, extension: &str) -> PathBuf {
        self.dir.join("guests").join(format!("{guest}.{extension}"))
    }

    /// The image that clones of a template read.
    pub fn image(&self, template: &str) -> Result<PathBuf> {
        let shown = self.ok(&["template", "show", template, "-o", "json"])?;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        let id = shown["image"].as_str().context("a version with an image")?;
        Ok(self.home().join("images").join(id).join("disk.raw"))
    }

    /// The home.
    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// stampo with these arguments, in the usual home.
    pub fn stampo(&self, args: &[&str]) -> Command {
        self.stampo_in(&self.home(), args)
    }

    /// stampo with these arguments, in another home.
    pub fn stampo_in(&self, home: &Path, args: &[&str]) -> Command {
        let mut command = match &*self.noted.borrow() {
            None => Command::new(&self.program),
            Some(noted) => {
                // GNU time asks wait4(2): the largest process among stampo and its children.
                let mut time =
                    command(&["/usr/bin/time", "--append", "--format", "%M", "--output"]);
                time.arg(noted).arg(&self.program);
                time
            }
        };
        command
            .args(args)
            .env("STAMPO_HOME", home)
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs stampo, which must succeed; what it printed.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        output(&mut self.stampo(args))
    }

    /// Does something and says how large the largest process of stampo became meanwhile, in KiB.
    pub fn peak_during(&self, act: impl FnOnce() -> Result<()>) -> Result<Option<u64>> {
        let noted = self.path("peak");
        let _ = fs::remove_file(&noted);
        *self.noted.borrow_mut() = Some(noted.clone());
        let done = act();
        *self.noted.borrow_mut() = None;
        done?;
        // A row whose work is done in this very process starts no stampo.
        let text = fs::read_to_string(&noted).unwrap_or_default();
        Ok(text
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .max())
    }

    fn ensure_key(&self) -> Result<()> {
        if self.key().exists() {
            return Ok(());
        }
        let mut made = command(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]);
        output(made.arg(self.key())).map(drop)
    }

    /// A published template of this name, out of its disk as it was built.
    fn ensure_guest(&self, name: &str, more: &str) -> Result<()> {
        self.ensure_disk(name, more)?;
        self.publish(&self.home(), name, &self.disk(name, "raw"))
    }

    /// Takes a disk into a home, sealed and published.
    pub fn publish(&self, home: &Path, name: &str, disk: &Path) -> Result<()> {
        let disk = disk.display().to_string();
        let mut import = vec!["template", "import", name, &disk, "--format", "raw"];
        import.extend(HARDWARE);
        output(&mut self.stampo_in(home, &import))?;
        for verb in ["seal", "publish"] {
            output(&mut self.stampo_in(home, &["template", verb, name]))?;
        }
        Ok(())
    }

    /// The disk of a guest, built unless it was built of the same recipe before.
    fn ensure_disk(&self, name: &str, more: &str) -> Result<()> {
        let (raw, qcow2) = (self.disk(name, "raw"), self.disk(name, "qcow2"));
        let recipe = self.disk(name, "toml");
        let text = format!("{more}{RECIPE}");
        let is_same = fs::read_to_string(&recipe).is_ok_and(|found| found == text);
        if is_same && raw.exists() && qcow2.exists() {
            return Ok(());
        }
        eprintln!("building the guest {name}");
        let _ = fs::remove_file(&recipe);
        let draft = self.disk(name, "new.toml");
        fs::write(&draft, &text)?;
        let file = draft.display().to_string();
        self.ok(&["template", "build", name, "-f", &file])?;
        copy_sparse(&self.image(name)?, &raw)?;
        self.ok(&["template", "purge", name])?;
        let words = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2"];
        output(program::command(&words).arg(&raw).arg(&qcow2))?;
        fs::rename(&draft, &recipe)?;
        Ok(())
    }
}

/// Copies a disk image, its holes too.
pub fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_file(to);
    let mut copy = command(&["cp", "--sparse=always"]);
    output(copy.arg(from).arg(to))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(to, mode)?;
    ensure!(to.exists(), "{} was not made", to.display());
    Ok(())
}
