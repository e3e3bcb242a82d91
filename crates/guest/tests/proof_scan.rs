//! Keys and tokens by their form: each kind is found, and what only looks like one is not.

use proptest::prelude::*;
use stampo_guest::seal::proof::Scanner;

const BODY: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n";

fn found(content: impl AsRef<[u8]>) -> Vec<(&'static str, &'static str)> {
    let hits = Scanner::new().scan(content.as_ref());
    hits.into_iter().map(|hit| (hit.id, hit.what)).collect()
}

fn pem(label: &str) -> String {
    format!("-----BEGIN {label}-----\n{BODY}{BODY}-----END {label}-----\n")
}

#[test]
fn private_key_blocks_are_found_and_public_ones_are_not() {
    for label in [
        "PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "RSA PRIVATE KEY",
        "DSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
        "ANY PRIVATE KEY",
    ] {
        assert_eq!(found(pem(label)).len(), 1, "{label}");
    }
    for label in [
        "PUBLIC KEY",
        "CERTIFICATE",
        "PGP PUBLIC KEY BLOCK",
        "DH PARAMETERS",
    ] {
        assert_eq!(found(pem(label)), [], "{label}");
    }
}

#[test]
fn a_key_counts_in_json_in_yaml_and_with_headers() {
    let json = format!(
        "{{\"private_key\": \"{}\"}}",
        pem("PRIVATE KEY").replace('\n', "\\n")
    );
    let yaml = pem("PRIVATE KEY").replace('\n', "\n    ");
    let headers = format!(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{BODY}"
    );
    let windows = pem("PRIVATE KEY").replace('\n', "\r\n");
    let ssh2 = format!("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: \"x\"\n{BODY}");
    for text in [json, yaml, headers, windows, ssh2] {
        assert_eq!(found(&text).len(), 1, "{text}");
    }
}

#[test]
fn a_program_that_mentions_a_key_holds_none() {
    for text in [
        "if line == \"-----BEGIN RSA PRIVATE KEY-----\": pass\n",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n",
        "-----BEGIN ",
        "PuTTY-User-Key-File-2: ssh-rsa\nPublic-Lines: 4\n",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn putty_and_der_keys_are_found() {
    let putty = "PuTTY-User-Key-File-3: ssh-ed25519\nPublic-Lines: 2\nPrivate-Lines: 1\nAAAA\n";
    assert_eq!(found(putty), [("key.private", "PuTTY private key")]);
    // PKCS#8 of an Ed25519 key, RFC 8410 section 10.3, with another key.
    let mut der = hex("302e020100300506032b657004220420");
    der.extend([7; 32]);
    assert_eq!(found(&der), [("key.private", "private key (PKCS#8, DER)")]);
    der.push(0);
    assert_eq!(found(&der), [], "a key fills its file");
    let mut rsa = hex("30820089020100028180");
    rsa.extend([9; 128]);
    rsa.extend(hex("020301"));
    rsa.extend([0; 1]);
    let length = rsa.len() - 4;
    rsa[2..4].copy_from_slice(&[(length >> 8) as u8, length as u8]);
    assert_eq!(found(&rsa), [("key.private", "RSA private key (DER)")]);
}

#[test]
fn tokens_are_found_with_their_line() {
    let run = |length: usize| {
        "a1B2c3D4e5F6g7H8i9J0"
            .chars()
            .cycle()
            .take(length)
            .collect::<String>()
    };
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.{}", run(30), run(43));
    for (token, id) in [
        ("AKIAQ2W3E4R5T6Y7U2P4".to_owned(), "token.aws"),
        (format!("ghp_{}", run(36)), "token.github"),
        (format!("github_pat_{}", run(82)), "token.github"),
        (format!("glpat-{}", run(20)), "token.gitlab"),
        (format!("xoxb-{}", run(50)), "token.slack"),
        (jwt, "token.jwt"),
        (format!("hvs.{}", run(90)), "token.vault"),
        (format!("npm_{}", run(36)), "token.npm"),
        (format!("pypi-AgEIcHlwaS5vcmc{}", run(90)), "token.pypi"),
        (format!("AIza{}", run(35)), "token.google"),
        (format!("sk_live_{}", run(24)), "token.stripe"),
    ] {
        let text = format!("one\ntwo\nvalue=\"{token}\" # four\n");
        let hits = Scanner::new().scan(text.as_bytes());
        let seen: Vec<_> = hits.iter().map(|hit| (hit.id, hit.line)).collect();
        assert_eq!(seen, [(id, 3)], "{token}");
    }
}

#[test]
fn what_only_looks_like_a_token_is_none() {
    for text in [
        "AKIAIOSFODNN7EXAMPLE",
        "AKIA1111111111111111",
        "xAKIAQ2W3E4R5T6Y7U2P4",
        "AKIAQ2W3E4R5T6Y7U2P4MORE",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "ghp_short",
        "glpat-<your token>",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0",
        "eyJ.eyJ.x",
        "npm_config_registry=https://registry.example",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn many_of_one_kind_are_one_hit_with_a_count() {
    let text = format!("{}{}", pem("PRIVATE KEY"), pem("PRIVATE KEY"));
    let hits = Scanner::new().scan(text.as_bytes());
    assert_eq!((hits.len(), hits[0].count, hits[0].line), (1, 2, 1));
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        Scanner::new().scan(&bytes);
    }

    #[test]
    fn broken_keys_and_tokens_never_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "-----BEGIN ", "PRIVATE KEY", "-----", "\n", "\\n", "eyJ", ".", "AKIA", "ghp_", "é",
                "PuTTY-User-Key-File-", "Private-Lines:", "0123456789abcdefABCDEF", "\0", "---- BEGIN ",
            ]),
            0..60,
        ),
        cut in 0usize..200,
    ) {
        let text = parts.concat().into_bytes();
        Scanner::new().scan(&text[..cut.min(text.len())]);
    }

    #[test]
    fn a_key_is_found_wherever_it_is(before in "[ -~\n]{0,300}", after in "[ -~\n]{0,300}") {
        let text = format!("{before}\n{}\n{after}", pem("OPENSSH PRIVATE KEY"));
        prop_assert!(found(&text).contains(&("key.private", "OpenSSH private key")));
    }

    #[test]
    fn der_lengths_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut der = vec![0x30];
        der.extend(bytes);
        Scanner::new().scan(&der);
    }
}
