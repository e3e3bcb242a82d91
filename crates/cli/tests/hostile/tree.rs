//! A hostile guest in the making: a tree, what debugfs changes in it, and its disk.
//!
//! Everything is made as an ordinary user: mke2fs fills the filesystem and debugfs makes what only
//! root could.

use crate::crowd::Crowd;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a Debian guest has, as far as stampo looks at it.
const FILES: [(&str, &str); 32] = [
    ("usr/lib/systemd/systemd", "x"),
    ("usr/lib/systemd/systemd-growfs", "x"),
    ("usr/sbin/sshd", "x"),
    ("usr/sbin/ifup", "x"),
    ("usr/bin/cloud-init", "x"),
    ("usr/bin/bash", "x"),
    ("usr/lib/ifupdown/wait-online.sh", "x"),
    (
        "etc/os-release",
        "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n",
    ),
    ("etc/hostname", "template\n"),
    ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 template\n"),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\n",
    ),
    ("etc/group", "root:x:0:\nsudo:x:27:\nann:x:1000:\n"),
    (
        "etc/shadow",
        "root:*:19000:0:99999:7:::\nann:!:19000:0:99999:7:::\n",
    ),
    ("etc/gshadow", "root:*::\nsudo:*::\nann:!::\n"),
    ("etc/fstab", "LABEL=root / ext4 defaults 0 1\n"),
    ("etc/machine-id", "4a1c8f0e9b7d4d5b8c6e2f3a1b0c9d8e\n"),
    ("etc/ssh/sshd_config", "UsePAM yes\n"),
    (
        "etc/ssh/ssh_host_ed25519_key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n-----END OPENSSH PRIVATE KEY-----\n",
    ),
    (
        "etc/ssh/ssh_host_ed25519_key.pub",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPpWJc5gE0QmPYLZmSDN5ziqvUwGUAqrP2jWMVd4xK6e root@template\n",
    ),
    (
        "etc/network/interfaces",
        "auto lo\niface lo inet loopback\nallow-hotplug ens3\niface ens3 inet dhcp\n",
    ),
    ("etc/cloud/cloud.cfg", "users: [default]\n"),
    (
        "etc/systemd/system/app.service",
        "[Service]\nExecStart=/bin/true\n",
    ),
    ("etc/login.defs", "UID_MIN 1000\nUID_MAX 60000\n"),
    ("etc/skel/.profile", "# profile\n"),
    ("etc/sudoers", "root ALL=(ALL:ALL) ALL\n"),
    ("etc/sudoers.d/README", "# nothing\n"),
    (
        "var/lib/dpkg/status",
        "Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: amd64\n\n",
    ),
    ("var/log/syslog", "a line of the log\n"),
    (
        "var/lib/dbus/machine-id",
        "4a1c8f0e9b7d4d5b8c6e2f3a1b0c9d8e\n",
    ),
    ("root/.bash_history", "a command of root\n"),
    ("home/ann/.bash_history", "a command of ann\n"),
    ("usr/share/zoneinfo/Europe/Rome", "TZif2 rules"),
];

const DIRECTORIES: [&str; 7] = [
    "tmp",
    "run",
    "srv",
    "var/tmp",
    "var/lib/systemd",
    "etc/netplan",
    "etc/network/interfaces.d",
];

/// A file of the host that no link of a guest may lead to.
pub const CANARY_TEXT: &str = "of the host and not of the guest\n";

/// A guest in the making.
pub struct Tree {
    dir: tempfile::TempDir,
    /// A directory of the host with the file `secret`, for links that lead out.
    pub outside: PathBuf,
    /// Arguments of mke2fs besides the usual ones.
    pub options: Vec<String>,
    /// Size of the disk.
    pub megabytes: u64,
    requests: Vec<String>,
    crowd: Option<Crowd>,
}

impl Tree {
    /// A guest with nothing wrong in it.
    pub fn friendly(outside: &Path) -> Tree {
        let mut tree = Tree {
            dir: tempfile::tempdir().expect("a directory"),
            outside: outside.to_owned(),
            options: Vec::new(),
            megabytes: 16,
            requests: Vec::new(),
            crowd: None,
        };
        for (path, text) in FILES {
            tree.file(path, text);
        }
        for path in DIRECTORIES {
            tree.dir(path);
        }
        for name in ["bin", "lib", "sbin"] {
            tree.link(name, &format!("usr/{name}"));
        }
        tree
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// Whatever was there is gone; its parent is there.
    pub fn clear(&mut self, path: &str) -> PathBuf {
        let at = self.at(path);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&at).expect("removed"),
            Ok(_) => fs::remove_file(&at).expect("removed"),
            Err(_) => fs::create_dir_all(at.parent().expect("a parent")).expect("a directory"),
        }
        at
    }

    pub fn file(&mut self, path: &str, content: impl AsRef<[u8]>) {
        let at = self.clear(path);
        fs::write(at, content).expect("a file");
    }

    pub fn dir(&mut self, path: &str) {
        let at = self.clear(path);
        fs::create_dir_all(at).expect("a directory");
    }

    pub fn link(&mut self, path: &str, target: &str) {
        let at = self.clear(path);
        symlink(target, at).expect("a link");
    }

    /// A link to a file of the host, by its absolute path.
    pub fn link_out(&mut self, path: &str) {
        let target = self.outside.join("secret").display().to_string();
        self.link(path, &target);
    }

    /// The same, by a path of many `..`.
    pub fn climb_out(&mut self, path: &str) {
        let target = format!(
            "{}{}",
            "../".repeat(30),
            self.outside.join("secret").display()
        );
        self.link(path, &target.replace("//", "/"));
    }

    /// A link to a directory of the host.
    pub fn link_dir_out(&mut self, path: &str) {
        let target = self.outside.display().to_string();
        self.link(path, &target);
    }

    pub fn hard_link(&mut self, from: &str, to: &str) {
        let (from, to) = (self.at(from), self.clear(to));
        fs::hard_link(from, to).expect("a hard link");
    }

    pub fn fifo(&mut self, path: &str) {
        let at = self.clear(path);
        rustix::fs::mkfifoat(rustix::fs::CWD, at, 0o600.into()).expect("a fifo");
    }

    pub fn socket(&mut self, path: &str) {
        let at = self.clear(path);
        // Under a short name first: a socket's path must be short.
        let short = self.dir.path().join("s");
        drop(UnixListener::bind(&short).expect("a socket"));
        fs::rename(short, at).expect("renamed");
    }

    /// A block or character device: the block device 8,0 and the character device 1,5.
    pub fn device(&mut self, path: &str, kind: char) {
        self.clear(path);
        let (directory, name) = path.rsplit_once('/').expect("an absolute path");
        let numbers = if kind == 'b' { "b 8 0" } else { "c 1 5" };
        self.ask(&format!("cd /{}", directory.trim_start_matches('/')));
        self.ask(&format!("mknod {name} {numbers}"));
        self.ask("cd /");
    }

    /// A file that begins with `content` and goes on for this many bytes, none of them there.
    pub fn sparse(&mut self, path: &str, size_bytes: u64, content: &str) {
        self.file(path, content);
        self.ask(&format!("set_inode_field {path} size {size_bytes}"));
    }

    /// An empty file under a name of any bytes.
    pub fn raw_name(&mut self, directory: &str, name: &[u8]) {
        fs::write(self.at(directory).join(OsStr::from_bytes(name)), "x").expect("a file");
    }

    /// A hundred thousand names in one directory, in place of what is there.
    pub fn crowd(&mut self, path: &'static str, start: &'static str) {
        self.clear(path);
        self.megabytes = 64;
        self.option(&["-O", "^metadata_csum"]);
        self.crowd = Some(Crowd {
            path,
            start,
            count: 100_000,
        });
    }

    pub fn mode(&mut self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).expect("own file");
    }

    /// A request of debugfs(8), made after the filesystem is.
    pub fn ask(&mut self, request: &str) {
        self.requests.push(request.to_owned());
    }

    /// An option of mke2fs(8).
    pub fn option(&mut self, words: &[&str]) {
        self.options
            .extend(words.iter().map(|word| (*word).to_owned()));
    }

    /// Makes the filesystem.
    pub fn into_disk(self, path: &Path) {
        let file = File::create_new(path).expect("a file");
        file.set_len(self.megabytes << 20).expect("a sparse file");
        let mut command = tool("mke2fs");
        command.args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-L",
            "root",
            "-E",
            "root_owner=0:0",
        ]);
        if !self.options.iter().any(|option| option == "-b") {
            command.args(["-b", "4096"]);
        }
        let made = command
            .args(&self.options)
            .arg("-d")
            .arg(self.dir.path())
            .arg(path)
            .output();
        let made = made.expect("mke2fs is needed for this test (package e2fsprogs)");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        if !self.requests.is_empty() {
            let script = self.dir.path().with_extension("requests");
            fs::write(&script, self.requests.join("\n")).expect("written");
            let asked = tool("debugfs")
                .arg("-w")
                .arg("-f")
                .arg(&script)
                .arg(path)
                .output();
            let asked = asked.expect("debugfs is needed for this test (package e2fsprogs)");
            fs::remove_file(script).expect("removed");
            let said = String::from_utf8_lossy(&asked.stderr).into_owned();
            let wrong = said.lines().find(|line| !line.starts_with("debugfs 1."));
            assert_eq!(wrong, None, "{said}");
        }
        if let Some(crowd) = &self.crowd {
            crowd.settle(path);
        }
    }
}

/// A tool of e2fsprogs; they live in `sbin`.
pub fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C");
    command
}
