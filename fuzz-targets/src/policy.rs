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
        let secret = |source: &sources::Source| source.address.contains("user:secret@");
        assert!(!found.iter().any(secret), "a password was kept");
    }
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
