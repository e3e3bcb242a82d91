//! What conformity reads: a guest's own files, and a site's packs and retention settings.
//!
//! What is read has limits, and no address keeps the password that was in it.

use crate::bytes::text;
use stampo_policy::Pack;
use stampo_policy::evidence::files::{self, sources};
use stampo_policy::retention::Retention;

/// Files of a guest.
pub fn files(bytes: &[u8]) {
    let text = text(bytes);
    let readers = [
        sources::one_line,
        sources::deb822,
        sources::repo,
        sources::apk,
    ];
    for read in readers {
        let found = read(&text);
        assert!(found.len() <= 1000, "more than are kept");
        assert!(
            !found.iter().any(|one| has_user(&one.address)),
            "a password was kept"
        );
    }
    let suite_of_address = |one: &sources::Source| one.address.ends_with(&*one.suite);
    assert!(
        sources::apk(&text).iter().all(suite_of_address),
        "a suite of its own"
    );
    sources::periodic(&text);
    sources::unauthenticated(&text);
    files::login(&text);
    files::name_servers(&text);
    files::hosts(&text);
    files::crypttab(&text);
    files::asks_for_password(&text);
    assert!(
        files::missing_drivers(&text).len() <= 3,
        "more than there are"
    );
}

/// Whether an address has a user name, perhaps with a password: before its host, and not in its path.
fn has_user(address: &str) -> bool {
    let (before, place) = address.split_once("://").unwrap_or(("", address));
    let has_path = address.contains("://");
    let host = if has_path {
        place.split('/').next().unwrap_or_default()
    } else {
        place
    };
    before.contains('@') || host.contains('@')
}

/// Packs and retention settings.
pub fn settings(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(pack) = Pack::parse(&text) {
        let again = Pack::parse(&text).expect("what was read is read again");
        assert_eq!(pack.digest(), again.digest(), "one text has one meaning");
    }
    if let Ok(retention) = Retention::parse(&text) {
        assert_eq!(retention.text, text);
        let again = Retention::parse(&retention.text).expect("what was read is read again");
        assert_eq!(retention.rules_of("web"), again.rules_of("web"));
    }
}
