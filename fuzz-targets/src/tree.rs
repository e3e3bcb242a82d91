//! A guest as text: files over a small Debian.
//!
//! A line that begins with `@/` starts a file of that path, whose content is everything up to the
//! next such line; `@/path>target` is a symbolic link and `@/path!` a special file. So what
//! fuzzing changes stays a tree, and a person can read the corpus.

use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::fs::{GuestFs, GuestRead, Owner};

/// The Debian below.
pub fn base() -> TreeFixture {
    TreeFixture::new()
        .file("/usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
        .link("/etc/os-release", "../usr/lib/os-release")
        .file("/usr/lib/systemd/systemd", "elf")
        .file("/usr/lib/systemd/systemd-growfs", "elf")
        .link("/lib", "usr/lib")
        .file("/usr/lib/ifupdown/wait-online.sh", "#!/bin/sh")
        .file("/usr/sbin/sshd", "elf")
        .file("/usr/sbin/iscsid", "elf")
        .file("/usr/sbin/iscsi-iname", "elf")
        .file("/usr/bin/cloud-init", "py")
        .file("/bin/bash", "elf")
        .file("/etc/cloud/cloud.cfg", "users: [default]\n")
        .file("/etc/ssh/sshd_config", "UsePAM yes\n")
        .file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .file("/etc/hostname", "template\n")
        .file("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\ttemplate\n")
        .file(
            "/etc/network/interfaces",
            "auto lo\niface lo inet loopback\n",
        )
        .dir("/etc/network/interfaces.d")
        .file(
            "/etc/fstab",
            "UUID=5eed0000-0000-4000-8000-000000000001 / ext4 defaults 0 1\n",
        )
        .file(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n",
        )
        .file(
            "/etc/shadow",
            "root:$6$salt$hash:19700:0:99999:7:::\nann:!:19700::::::\n",
        )
        .file("/etc/group", "root:x:0:\nsudo:x:27:ann\nann:x:1000:\n")
        .file("/etc/gshadow", "root:*::\nsudo:*::ann\nann:!::\n")
        .file(
            "/etc/login.defs",
            "UID_MIN 1000\nUID_MAX 60000\nUMASK 022\n",
        )
        .dir("/etc/sudoers.d")
        .dir("/etc/iscsi")
        .dir("/root")
        .dir("/home/ann")
        .file("/usr/share/zoneinfo/Etc/UTC", b"TZif2")
        .link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
}

/// The parts of an input: paths and contents, in order.
pub fn parts(bytes: &[u8]) -> Vec<(&str, &[u8])> {
    let mut parts = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let path = line.strip_prefix(b"@").map(<[u8]>::trim_ascii_end);
        if let Some(path) = path.and_then(|path| std::str::from_utf8(path).ok()) {
            if let Some((before, start)) = open {
                parts.push((before, &bytes[start..at]));
            }
            open = Some((path, at + line.len()));
        }
        at += line.len();
    }
    if let Some((before, start)) = open {
        parts.push((before, &bytes[start..at]));
    }
    parts
}

/// The base with these files in it; what can't be is left out.
pub fn tree(parts: &[(&str, &[u8])]) -> TreeFixture {
    let mut tree = base();
    for (path, content) in parts.iter().filter(|(path, _)| path.starts_with('/')) {
        // A path of a fuzzer may be as long as the input; the product has its own limits for that.
        if let Some((path, target)) = path.split_once('>') {
            let _ = make_parents(&mut tree, path);
            let _ = tree.symlink(path, target);
        } else {
            let _ = make_parents(&mut tree, path);
            let _ = tree.write(path, content, Owner::root(0o644));
        }
    }
    tree
}

fn make_parents(tree: &mut TreeFixture, path: &str) -> Option<()> {
    let (parent, _) = path.rsplit_once('/')?;
    if !parent.is_empty() {
        tree.create_dir_all(parent, Owner::root(0o755)).ok()?;
    }
    Some(())
}

/// Everything in a tree as text, for comparing two.
pub fn listing(fs: &dyn GuestRead) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = vec![String::new()];
    while let Some(directory) = rest.pop() {
        let entries = fs.read_dir(&format!("{directory}/")).unwrap_or_default();
        for entry in entries {
            let path = format!("{directory}/{}", String::from_utf8_lossy(&entry.name));
            let owner = fs.metadata(&path).map(|m| (m.kind, m.mode, m.uid, m.gid));
            let content = match &owner {
                Ok((stampo_guest::fs::FileKind::File, ..)) => fs.read(&path, 1 << 20).ok(),
                Ok((stampo_guest::fs::FileKind::Symlink, ..)) => fs.read_link(&path).ok(),
                Ok((stampo_guest::fs::FileKind::Directory, ..)) => {
                    rest.push(path.clone());
                    None
                }
                _ => None,
            };
            lines.push(format!("{path} {owner:?} {content:?}"));
        }
    }
    lines.sort();
    lines
}
