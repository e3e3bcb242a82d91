//! Installing packages into a new system: one run of mmdebstrap, whose tar the caller reads.
//!
//! mmdebstrap works in a user namespace (`unshare`) for an ordinary user, and for root too where
//! root has a range of subordinate ids; otherwise root's run is in a chroot (`root`). The tar
//! comes through a pipe: sorted, times clamped to `SOURCE_DATE_EPOCH`, owners as in the guest.

use crate::apt_errors::{Cause, cause};
use crate::process;
use crate::progress::{BuildProgress, Phase};
use crate::quote::shell;
use crate::recipe::Recipe;
use crate::sources::Sources;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};
use std::sync::Mutex;

/// How mmdebstrap gets to be root of the new system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In a user namespace.
    Unshare,
    /// As the host's root, in a chroot.
    Root,
}

/// Why no system was installed.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// An ordinary user has no subordinate ids.
    #[error(
        "build as the user {user}: no subordinate ids; run 'sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}'"
    )]
    NoSubordinateIds {
        /// The user.
        user: String,
    },
    /// A file of the build could not be made, or mmdebstrap not started.
    #[error("prepare {what}")]
    Prepare {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No such package.
    #[error("find the package {0:?}: no source of the recipe has it")]
    PackageNotFound(String),
    /// A locked version that the archive no longer has.
    #[error("install a locked version: {0}; name a snapshot in the recipe, or make a new lock")]
    VersionGone(String),
    /// The archive can't be reached.
    #[error("reach the package archive: {0}")]
    Network(String),
    /// The archive is not what was expected.
    #[error("use the package archive: {0}")]
    Archive(String),
    /// The disk is full.
    #[error("install packages: no space left in {place:?}; set TMPDIR to a larger place")]
    NoSpace {
        /// Where the tree is made.
        place: PathBuf,
    },
    /// Packages that don't go together.
    #[error("install packages: their dependencies can't be met: {0}")]
    Dependencies(String),
    /// A setting of the recipe.
    #[error("{0}")]
    Setting(String),
    /// Anything else.
    #[error("install packages: {why}; the whole log is {log:?}")]
    Other {
        /// The last error.
        why: String,
        /// The log.
        log: PathBuf,
    },
    /// The build was cancelled.
    #[error("install packages: cancelled")]
    Cancelled,
}

/// Everything that one run of mmdebstrap is given.
pub struct Bootstrap<'a> {
    /// The program.
    pub program: PathBuf,
    /// What to install.
    pub recipe: &'a Recipe,
    /// Where from.
    pub sources: &'a Sources,
    /// The newest time that a file may have, in seconds since 1970.
    pub epoch: u64,
    /// See [`Mode`].
    pub mode: Mode,
    /// Where mmdebstrap makes its tree: a directory that other user ids may enter.
    pub work: &'a Path,
    /// Where the tars for the hooks are, and the log.
    pub staging: &'a Path,
}

/// Chooses the mode for this process.
pub fn mode() -> Result<Mode, BootstrapError> {
    let uid = rustix::process::getuid().as_raw();
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let name = read("/etc/passwd")
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).is_some_and(|id| *id == uid.to_string()))
        .map_or_else(|| uid.to_string(), |fields| fields[0].to_owned());
    let has = |text: &str| has_range(text, &name, uid);
    if has(&read("/etc/subuid")) && has(&read("/etc/subgid")) {
        Ok(Mode::Unshare)
    } else if uid == 0 {
        Ok(Mode::Root)
    } else {
        Err(BootstrapError::NoSubordinateIds { user: name })
    }
}

/// Whether a file of subuid(5) gives `name` (or `uid`) at least the 65,536 ids that Debian uses.
fn has_range(text: &str, name: &str, uid: u32) -> bool {
    text.lines().any(|line| {
        let mut fields = line.split(':');
        let owner = fields.next().unwrap_or_default();
        let count = fields
            .nth(1)
            .and_then(|count| count.trim().parse::<u64>().ok());
        (owner == name || owner == uid.to_string()) && count.is_some_and(|count| count >= 65_536)
    })
}

/// dpkg's filters for a slim system; licence texts stay, as their licences ask.
fn slim_options(locale: &str) -> Vec<String> {
    let language = locale.split(['_', '.']).next().unwrap_or_default();
    let mut options: Vec<String> = [
        "path-exclude=/usr/share/doc/*",
        "path-include=/usr/share/doc/*/copyright",
        "path-exclude=/usr/share/man/*",
        "path-exclude=/usr/share/info/*",
        "path-exclude=/usr/share/lintian/*",
        "path-exclude=/usr/share/locale/*",
        "path-include=/usr/share/locale/locale.alias",
    ]
    .map(str::to_owned)
    .to_vec();
    if language != "C" {
        options.push(format!("path-include=/usr/share/locale/{language}*"));
    }
    options
}

impl Bootstrap<'_> {
    /// The program, before its arguments. As root it binds the host's /dev and /sys into the new
    /// system: in a mount namespace of its own, so that nothing stays mounted when it is killed,
    /// and whoever removes its directory then removes nothing of the host's.
    fn program(&self) -> Command {
        match self.mode {
            Mode::Unshare => Command::new(&self.program),
            Mode::Root => {
                let mut command = Command::new("unshare");
                command
                    .args(["--mount", "--propagation=private"])
                    .arg(&self.program);
                command
            }
        }
    }

    /// The command line. Its output is the tar.
    fn command(&self, proxies: &[String]) -> Command {
        let hook = |kind: &str, tar: &str| {
            let place = self.staging.join(tar);
            format!("--{kind}-hook=tar-in {} /", shell(&place.to_string_lossy()))
        };
        let packages: Vec<String> = self.recipe.all_packages().into_iter().collect();
        let mut command = self.program();
        command
            .arg(match self.mode {
                Mode::Unshare => "--mode=unshare",
                Mode::Root => "--mode=root",
            })
            .args([
                "--variant=minbase",
                "--format=tar",
                "--architectures=amd64",
                "--verbose",
            ])
            .arg("--aptopt=Acquire::Retries \"3\"")
            // The tree is thrown away after the tar: waiting for the disk at every package is not
            // worth it. The customising script takes this out of the guest's own configuration.
            .arg("--dpkgopt=force-unsafe-io")
            .arg(format!(
                "--aptopt=Apt::Install-Recommends \"{}\"",
                self.recipe.recommends
            ))
            .args(proxies.iter().map(|line| format!("--aptopt={line}")))
            .arg(format!("--include={}", packages.join(",")));
        if self.recipe.slim {
            let options = slim_options(&self.recipe.locale);
            command.args(options.iter().map(|option| format!("--dpkgopt={option}")));
        }
        if self.recipe.lock.is_some() {
            command.arg(hook("setup", "lock.tar"));
        }
        command
            .arg(hook("essential", "early.tar"))
            .arg(hook("customize", "customise.tar"))
            .arg(format!(
                "--customize-hook=chroot \"$1\" sh {}/customise",
                crate::customise::PLACE
            ))
            .arg(&self.recipe.release)
            .arg("-")
            .args(&self.sources.lines)
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .env("TMPDIR", self.work)
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/");
        command
    }

    /// Runs it. `consume` reads the tar to its end and returns whether it could.
    pub fn run<T>(
        &self,
        progress: &dyn BuildProgress,
        consume: impl FnOnce(&mut ChildStdout) -> (bool, T),
    ) -> Result<T, BootstrapError> {
        let prepare = |what| move |source| BootstrapError::Prepare { what, source };
        self.write_tars()
            .map_err(prepare("the build's own files"))?;
        let log_path = self.staging.join("build.log");
        let log = File::create(&log_path).map_err(prepare("the log"))?;
        let log = Log {
            progress,
            file: Mutex::new((log, VecDeque::new(), Phase::Check)),
        };
        let mut command = self.command(&host_proxies());
        let ended = process::pipe(&mut command, progress, &|line| log.line(line), consume)
            .map_err(prepare("mmdebstrap"))?;
        if progress.is_cancelled() {
            return Err(BootstrapError::Cancelled);
        }
        if ended.status.success() {
            return Ok(ended.consumed);
        }
        Err(self.error(cause(&log.recent()), log_path))
    }

    fn write_tars(&self) -> io::Result<()> {
        let write = |name: &str, tar: Vec<u8>| std::fs::write(self.staging.join(name), tar);
        let early = crate::guest_files::early();
        write("early.tar", crate::customise::plain_archive(&early)?)?;
        let late = crate::customise::archive(self.recipe, &self.sources.guest_lines)?;
        write("customise.tar", late)?;
        if let Some(lock) = &self.recipe.lock {
            let pins = crate::guest_files::root_file(
                "/etc/apt/preferences.d/00stampo-lock",
                lock.apt_preferences(),
            );
            write("lock.tar", crate::customise::plain_archive(&[pins])?)?;
        }
        Ok(())
    }

    fn error(&self, cause: Cause, log: PathBuf) -> BootstrapError {
        match cause {
            Cause::PackageNotFound(name) => BootstrapError::PackageNotFound(name),
            Cause::VersionGone(text) => BootstrapError::VersionGone(text),
            Cause::Network(text) => BootstrapError::Network(text),
            Cause::Archive(text) => BootstrapError::Archive(text),
            Cause::NoSpace => BootstrapError::NoSpace {
                place: self.work.to_owned(),
            },
            Cause::Dependencies(text) => BootstrapError::Dependencies(text),
            Cause::Setting(text) => BootstrapError::Setting(text),
            Cause::Other(why) => BootstrapError::Other { why, log },
        }
    }
}

/// Proxies that the host's apt is told of; those of the environment are inherited anyway.
fn host_proxies() -> Vec<String> {
    let output = process::output(Command::new("apt-config").arg("dump"));
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let proxy = |line: &&str| {
        let key = line
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        matches!(
            key.as_str(),
            "acquire::http::proxy" | "acquire::https::proxy"
        )
    };
    text.lines()
        .filter(proxy)
        .map(|line| line.trim_end_matches(';').to_owned())
        .collect()
}

/// The log on disk, the last lines in memory, and the phase that they tell.
struct Log<'a> {
    progress: &'a dyn BuildProgress,
    file: Mutex<(File, VecDeque<String>, Phase)>,
}

/// Lines kept for finding the cause of a failure.
const RECENT_LINES: usize = 2000;

impl Log<'_> {
    fn line(&self, line: &str) {
        let mut state = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (file, recent, phase) = &mut *state;
        // A full disk shows in mmdebstrap's own failure; the log is not worth ending a build for.
        let _ = writeln!(file, "{line}");
        if let Some(next) = phase_of(line).filter(|next| *next > *phase) {
            *phase = next;
            self.progress.phase(next);
        }
        if let Some(text) = detail_of(line) {
            self.progress.detail(text);
        }
        if recent.len() == RECENT_LINES {
            recent.pop_front();
        }
        recent.push_back(line.to_owned());
    }

    fn recent(&self) -> Vec<String> {
        let state = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.1.iter().cloned().collect()
    }
}

/// The phase that a line of mmdebstrap's begins.
fn phase_of(line: &str) -> Option<Phase> {
    let rest = line.strip_prefix("I: ")?;
    let starts = |text: &str| rest.starts_with(text);
    Some(match () {
        () if starts("running apt-get update") => Phase::Index,
        () if starts("downloading packages") => Phase::Download,
        () if starts("extracting archives") => Phase::Essential,
        () if starts("installing remaining packages") => Phase::Install,
        () if starts("stampo: customise") => Phase::Customise,
        () if starts("creating tarball") => Phase::Unpack,
        () => return None,
    })
}

/// The part of a line of apt's or dpkg's that tells what is being done.
fn detail_of(line: &str) -> Option<&str> {
    let shown = [
        "Get:",
        "Unpacking ",
        "Setting up ",
        "Processing triggers for ",
    ];
    let line = line.trim_end_matches(" ...");
    shown
        .iter()
        .any(|start| line.starts_with(start))
        .then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_subordinate_ids() {
        assert!(has_range("a:100000:65536\n", "a", 1000));
        assert!(has_range("b:1:1\n1000:100000:65536\n", "a", 1000));
        assert!(!has_range("a:100000:1000\n", "a", 1000));
        assert!(!has_range("b:100000:65536\n", "a", 1000));
    }

    #[test]
    fn the_command_holds_the_recipe() {
        let mut recipe = Recipe::default();
        recipe.packages.insert("nginx-light".into());
        let sources = Sources {
            lines: vec!["deb http://m x main".into()],
            guest_lines: vec![],
        };
        let bootstrap = Bootstrap {
            program: "mmdebstrap".into(),
            recipe: &recipe,
            sources: &sources,
            epoch: 12,
            mode: Mode::Unshare,
            work: Path::new("/w"),
            staging: Path::new("/it's here"),
        };
        let command = bootstrap.command(&[]);
        let args: Vec<String> = command
            .get_args()
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        assert!(args.contains(&"--mode=unshare".to_owned()));
        assert!(
            args.contains(&r"--essential-hook=tar-in '/it'\''s here/early.tar' /".to_owned()),
            "{args:?}"
        );
        assert!(
            args.iter()
                .any(|a| a.starts_with("--include=") && a.contains(",nginx-light,"))
        );
        assert_eq!(
            args[args.len() - 3..],
            ["bookworm", "-", "deb http://m x main"]
        );
    }

    #[test]
    fn phases_are_read_from_the_log() {
        assert_eq!(phase_of("I: running apt-get update..."), Some(Phase::Index));
        assert_eq!(phase_of("I: creating tarball..."), Some(Phase::Unpack));
        assert_eq!(phase_of("Setting up I: creating tarball"), None);
        assert_eq!(
            detail_of("Setting up bash (5.2) ..."),
            Some("Setting up bash (5.2)")
        );
    }
}
