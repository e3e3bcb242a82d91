//! The parsers take any bytes: no panic, and never more than their limits.

use proptest::prelude::*;
use stampo_policy::Pack;
use stampo_policy::evidence::files::{self, sources};

/// Lines that look like what the parsers know, and lines that do not.
fn text() -> impl Strategy<Value = String> {
    let words = prop_oneof![
        Just("deb".to_owned()),
        Just("[trusted=yes".to_owned()),
        Just("]".to_owned()),
        Just("URIs:".to_owned()),
        Just("Suites:".to_owned()),
        Just("http://u:p@h/x".to_owned()),
        Just("=".to_owned()),
        Just("gpgcheck=0".to_owned()),
        Just("[a]".to_owned()),
        Just("\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("nameserver".to_owned()),
        Just("password ".to_owned()),
        Just("kernel/a.ko:".to_owned()),
        Just("#".to_owned()),
        Just("APT::Periodic::".to_owned()),
        Just("é\u{301}".to_owned()),
        "\\PC{0,12}",
        "[ -~\\n\\t]{0,20}",
    ];
    proptest::collection::vec(words, 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_taken(text in text()) {
        for found in [sources::one_line(&text), sources::deb822(&text), sources::repo(&text), sources::apk(&text)] {
            prop_assert!(found.len() <= 1000);
            prop_assert!(found.iter().all(|source| !source.address.contains("u:p@")));
        }
        sources::periodic(&text);
        sources::unauthenticated(&text);
        files::login(&text);
        files::name_servers(&text);
        files::hosts(&text);
        files::crypttab(&text);
        files::asks_for_password(&text);
        prop_assert!(files::missing_drivers(&text).len() <= 3);
    }

    #[test]
    fn any_pack_is_refused_or_sound(text in "\\PC{0,200}") {
        if let Ok(pack) = Pack::parse(&text) {
            pack.digest();
        }
    }
}
