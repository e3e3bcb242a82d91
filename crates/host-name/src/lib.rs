//! How a machine's name stands in its files: texts from texts.
//!
//! Two programs write a machine's name, and both must write the same: personalisation into the disk
//! of a guest that does not run, and the agent in one that does. This is below both, because the
//! agent can't have a library of filesystems in it. Which files there are, and how they are written,
//! is theirs.

/// A hosts file for a machine that has none.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// The first label: what the kernel and `/etc/hostname` get (hostname(5) wants a single label).
pub fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// hosts(5) with one 127.0.1.1 line, which names this machine, in the place of the first such line
/// or behind localhost's, as the Debian installer does. `old` is the file as it is, if there is one.
pub fn hosts(old: Option<&str>, name: &str) -> String {
    let short = short(name);
    let ours = if short == name {
        format!("127.0.1.1\t{short}")
    } else {
        format!("127.0.1.1\t{name} {short}")
    };
    let first = |line: &str, word: &str| line.split_whitespace().next() == Some(word);
    let mut lines: Vec<&str> = old.unwrap_or(HOSTS).lines().collect();
    let after_localhost = lines
        .iter()
        .position(|line| first(line, "127.0.0.1"))
        .map_or(0, |at| at + 1);
    let place = lines
        .iter()
        .position(|line| first(line, "127.0.1.1"))
        .unwrap_or(after_localhost);
    lines.retain(|line| !first(line, "127.0.1.1"));
    lines.insert(place.min(lines.len()), &ours);
    lines.join("\n") + "\n"
}

/// Postfix's main.cf (postconf(5)) with this name in the place of the one that the machine had when
/// the package was installed.
pub fn postfix_main(old: &str, name: &str) -> String {
    let is_own = |line: &str| {
        line.strip_prefix("myhostname")
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let ours = format!("myhostname = {name}");
    let mut lines: Vec<&str> = old.lines().collect();
    let place = lines
        .iter()
        .position(|line| is_own(line))
        .unwrap_or(lines.len());
    lines.retain(|line| !is_own(line));
    lines.insert(place, &ours);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_line_replaces_all_older_ones() {
        let old = "127.0.0.1 localhost\n127.0.1.1 vm.old vm\n::1 localhost\n127.0.1.1\tagain\n";
        let new = hosts(Some(old), "app-1.example.org");
        let expected = "127.0.0.1 localhost\n127.0.1.1\tapp-1.example.org app-1\n::1 localhost\n";
        assert_eq!(new, expected);
        assert_eq!(hosts(Some(&new), "app-1.example.org"), expected);
    }

    #[test]
    fn the_host_line_comes_after_localhost() {
        let old = "# hosts\n127.0.0.1 localhost\n::1 localhost\n";
        let expected = "# hosts\n127.0.0.1 localhost\n127.0.1.1\ta\n::1 localhost\n";
        assert_eq!(hosts(Some(old), "a"), expected);
        assert_eq!(hosts(Some(""), "a"), "127.0.1.1\ta\n");
        let fresh = hosts(None, "a");
        assert!(fresh.starts_with("127.0.0.1\tlocalhost\n127.0.1.1\ta\n"));
    }

    #[test]
    fn postfix_gets_one_name_where_the_old_one_stood() {
        let old = "smtpd_banner = x\nmyhostname = old\nmyhostnames = y\nmyhostname=again\n";
        let expected = "smtpd_banner = x\nmyhostname = vm.example.org\nmyhostnames = y\n";
        assert_eq!(postfix_main(old, "vm.example.org"), expected);
        assert_eq!(postfix_main("a = b\n", "vm"), "a = b\nmyhostname = vm\n");
    }
}
