//! shadow(5): nine fields, separated by colons; the second is the password's hash. A field that
//! starts with `!` or is `*` matches no password; an empty one needs none.

use super::lines::{Line, edit};
use crate::seal::guest::Guest;
use crate::seal::items::Rewritten;

/// Locks root's password. `*` and not `!`: sshd without PAM takes `!` for a locked account and
/// refuses keys as well.
pub(in crate::seal) fn lock_root(content: &[u8], _: &Guest) -> Rewritten {
    edit(content, |line| match line.split_once(':') {
        Some(("root", rest)) => {
            let (hash, ages) = rest.split_once(':').unwrap_or((rest, ""));
            let usable = !matches!(hash, "*" | "!" | "!!" | "!*" | "!locked" | "x");
            if usable {
                Line::Change(format!("root:*:{ages}"))
            } else {
                Line::Same
            }
        }
        _ => Line::Same,
    })
}

/// The users, root excepted, whose password would be accepted.
pub(in crate::seal) fn users_with_password(content: &[u8], _: &Guest) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let users: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (name, hash) = (fields.next()?, fields.next()?);
            let usable = hash.is_empty()
                || hash.starts_with('$')
                || (hash.len() == 13 && !hash.starts_with(['!', '*']));
            (usable && name != "root").then_some(name)
        })
        .collect();
    (!users.is_empty()).then(|| format!("password set: {}", users.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_locked_whatever_the_field_holds() {
        for field in ["", "$y$j9T$salt$hash", "!$6$kept$hash", "aaaaaaaaaaaaa"] {
            let content = format!("root:{field}:1:0:99999:7:::\nann:$6$a$b:1:::::\n");
            let expected = "root:*:1:0:99999:7:::\nann:$6$a$b:1:::::\n";
            let rewritten = lock_root(content.as_bytes(), &Guest::default());
            assert_eq!(rewritten, Rewritten::Content(expected.into()), "{field:?}");
        }
        for field in ["*", "!", "!*"] {
            let content = format!("root:{field}:1::::::\n");
            assert_eq!(
                lock_root(content.as_bytes(), &Guest::default()),
                Rewritten::Same,
                "{field:?}"
            );
        }
    }

    #[test]
    fn people_with_a_password_are_named_and_their_hashes_are_not() {
        let content = b"root:$6$r:1:\nann:$6$secret$x:1:\nbob:!:1:\neve::1:\ndaemon:*:1:\n";
        let detail = users_with_password(content, &Guest::default()).expect("there are two");
        assert_eq!(detail, "password set: ann, eve");
    }
}
