//! What strangers give us about versions: bundles, statements, signatures, keys, settings.
//!
//! What is read has one form, and is written as it was read. No bytes convince without the key.

use crate::bytes::text;
use stampo_attest::bundle::Bundle;
use stampo_attest::settings::Settings;
use stampo_attest::signature::{APPROVAL_NAMESPACE, Key, key_of};
use stampo_attest::statement::Statement;
use std::sync::OnceLock;

/// A key whose private half nobody has.
fn nobody() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| {
        let line = stampo_attest::signature::new_key([42; 32], "")
            .expect("a key")
            .1;
        Key::parse(&line).expect("its public half")
    })
}

/// Bundles.
pub fn bundle(bytes: &[u8]) {
    let Ok(read) = Bundle::parse(&text(bytes)) else {
        return;
    };
    let again = Bundle::parse(&read.text()).expect("a bundle that was written is read");
    assert!(again == read, "a bundle is read in one way only");
    assert!(
        read.verify(std::slice::from_ref(nobody())).is_err(),
        "nobody approved it"
    );
}

/// Statements.
pub fn statement(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(read) = Statement::parse(&text) {
        assert_eq!(
            read.text().expect("canonical"),
            text,
            "a statement has one form"
        );
    }
}

/// Signatures, public keys, and settings with keys.
pub fn signature(bytes: &[u8]) {
    let text = text(bytes);
    assert!(nobody().verify(APPROVAL_NAMESPACE, &text, &text).is_err());
    let _ = key_of(&text);
    if let Ok(key) = Key::parse(&text) {
        let again = Key::parse(&key.line()).expect("a key that was written is read");
        assert!(again == key, "a key is read in one way only");
    }
    if let Ok(settings) = Settings::parse(&text) {
        let again = Settings::parse(&settings.text()).expect("settings that were written are read");
        assert!(again == settings, "settings are read in one way only");
    }
}
