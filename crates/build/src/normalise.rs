//! What is taken out of a freshly installed tree so that two builds give the same bytes.
//!
//! This is about builds, not about clones: everything here is a by-product of *when, where and
//! how* packages were installed. What an installed guest needs to be its own machine again is
//! sealing's list. Ids and keys that packages made are emptied rather than dropped, so that
//! sealing still sees that they belong there and has the guest make its own. Whatever else a
//! running system needs it makes again by itself.

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// The entry is left out.
    Drop,
    /// A regular file stays, without content.
    Empty,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Normalisation {
    /// An absolute path; `*` stands for any text within one name, a `/**` at the end for
    /// everything below a directory (which itself stays).
    pub pattern: &'static str,
    /// What is done.
    pub treatment: Treatment,
    /// Why it would differ between two builds.
    pub why: &'static str,
}

const fn drop(pattern: &'static str, why: &'static str) -> Normalisation {
    Normalisation {
        pattern,
        treatment: Treatment::Drop,
        why,
    }
}

const fn empty(pattern: &'static str, why: &'static str) -> Normalisation {
    Normalisation {
        pattern,
        treatment: Treatment::Empty,
        why,
    }
}

/// All rules; the first that fits counts.
pub const NORMALISED: [Normalisation; 32] = [
    empty(
        "/etc/machine-id",
        "random; empty means: make one at boot (machine-id(5))",
    ),
    drop(
        "/var/lib/dbus/machine-id",
        "a copy of it; dbus makes a link at boot",
    ),
    empty(
        "/etc/ssh/ssh_host_*_key",
        "random keys, made when openssh-server is installed",
    ),
    empty("/etc/ssh/ssh_host_*_key.pub", "their public halves"),
    empty(
        "/etc/ssl/private/ssl-cert-snakeoil.key",
        "a random key, made when ssl-cert is installed",
    ),
    empty("/etc/ssl/certs/ssl-cert-snakeoil.pem", "its certificate"),
    drop("/var/lib/systemd/random-seed", "random"),
    drop("/var/lib/systemd/credential.secret", "random"),
    drop("/var/lib/urandom/random-seed", "random"),
    empty(
        "/etc/iscsi/initiatorname.iscsi",
        "a random name, made when open-iscsi is installed",
    ),
    empty(
        "/etc/nvme/hostid",
        "random, made when nvme-cli is installed",
    ),
    empty(
        "/etc/nvme/hostnqn",
        "random, made when nvme-cli is installed",
    ),
    empty("/etc/docker/key.json", "random"),
    drop(
        "/dev/**",
        "device nodes of the build; devtmpfs has them at every boot",
    ),
    drop("/run/**", "a tmpfs at every boot"),
    drop("/tmp/**", "left over by package scripts"),
    drop("/var/tmp/**", "left over by package scripts"),
    drop("/.stampo-build", "the build's own files"),
    drop("/.stampo-build/**", "the build's own files"),
    drop("/var/log/apt/*", "times of the installation"),
    drop("/var/log/dpkg.log", "times of the installation"),
    drop("/var/log/alternatives.log", "times of the installation"),
    drop("/var/log/bootstrap.log", "times of the installation"),
    drop("/var/log/fontconfig.log", "times of the installation"),
    drop(
        "/var/lib/apt/lists/**",
        "the index of the moment, fetched again by apt update",
    ),
    drop(
        "/var/cache/apt/**",
        "packages and indexes, fetched again by apt",
    ),
    drop(
        "/var/cache/debconf/*-old",
        "a backup of the installation before the last package",
    ),
    drop(
        "/var/lib/dpkg/*-old",
        "a backup of the installation before the last package",
    ),
    drop(
        "/var/cache/ldconfig/aux-cache",
        "holds inode numbers and times of the build machine",
    ),
    drop(
        "/etc/*-",
        "backups of passwd, group and shadow before the last change",
    ),
    drop(
        "/var/cache/man/**",
        "an index with times; man-db makes it again",
    ),
    drop("/root/.ssh/**", "nothing of a build belongs there"),
];

/// What is done with the entry at `path`, or `None` if it stays as it is.
pub fn treatment(path: &[u8]) -> Option<Treatment> {
    let rule = NORMALISED
        .iter()
        .find(|rule| fits(rule.pattern.as_bytes(), path))?;
    Some(rule.treatment)
}

/// Whether a rule's pattern fits a path.
fn fits(pattern: &[u8], path: &[u8]) -> bool {
    if let Some(dir) = pattern.strip_suffix(b"/**") {
        return path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.first() == Some(&b'/'));
    }
    let (Some((wanted, rest)), byte) = (pattern.split_first(), path.first()) else {
        return path.is_empty();
    };
    match wanted {
        b'*' => fits(rest, path) || byte.is_some_and(|b| *b != b'/' && fits(pattern, &path[1..])),
        b'?' => byte.is_some_and(|b| *b != b'/' && fits(rest, &path[1..])),
        _ => byte == Some(wanted) && fits(rest, &path[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_fit_what_they_name_and_no_more() {
        let dropped = [
            "/etc/passwd-",
            "/dev/null",
            "/dev/pts/0",
            "/var/lib/dpkg/status-old",
        ];
        for path in dropped {
            assert_eq!(treatment(path.as_bytes()), Some(Treatment::Drop), "{path}");
        }
        for path in [
            "/etc/machine-id",
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/nvme/hostid",
        ] {
            assert_eq!(treatment(path.as_bytes()), Some(Treatment::Empty), "{path}");
        }
        let kept = [
            "/dev",
            "/run",
            "/etc/passwd",
            "/etc/ssh/sshd_config",
            "/etc/a/b-",
            "/device",
            "/var/lib/dpkg/status",
            "/",
        ];
        for path in kept {
            assert_eq!(treatment(path.as_bytes()), None, "{path}");
        }
    }
}
