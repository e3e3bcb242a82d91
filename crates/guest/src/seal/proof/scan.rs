//! Looking into files for keys and tokens that are known by their form.
//!
//! One pass finds the fixed starts (Aho-Corasick); `key_blocks.rs` and `tokens.rs` decide whether
//! a start is the real thing. Which files are looked into is decided here too: everything but
//! what packages bring under `/usr` and `/boot`, because examples and tests live there. Compressed
//! files and archives are not unpacked. Nothing of a found value is kept but the line it is in.

use super::key_blocks;
use super::tokens::{TOKENS, is_token};
use aho_corasick::AhoCorasick;

/// The id of findings of private keys by their form.
pub const KEY_ID: &str = "key.private";
/// Largest file that is looked into, in bytes. A larger one is unknown.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Most bytes that are looked into for one guest.
pub const MAX_TOTAL_BYTES: u64 = 64 << 30;
/// Trees that are left out.
const LEFT_OUT: &[&str] = &["/usr/", "/boot/", "/proc/", "/sys/", "/dev/"];
/// Trees below [`LEFT_OUT`] that are looked into.
const LOOKED_INTO: &[&str] = &["/usr/local/", "/usr/src/"];
/// Most findings of one file.
const MAX_HITS: usize = 50;

/// Something found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The check.
    pub id: &'static str,
    /// What it is.
    pub what: &'static str,
    /// The first line that it is in, from 1.
    pub line: usize,
    /// How many of it there are.
    pub count: usize,
}

/// Whether a file of this name is looked into.
pub fn is_looked_into(path: &str) -> bool {
    let is_below = |tree: &&str| path.starts_with(*tree);
    LOOKED_INTO.iter().any(is_below) || !LEFT_OUT.iter().any(is_below)
}

/// The starts of everything that is looked for.
pub struct Scanner {
    starts: AhoCorasick,
}

/// Starts of key blocks; the numbers of the automaton's patterns begin with these.
const KEY_STARTS: &[&str] = &["-----BEGIN ", "---- BEGIN ", "PuTTY-User-Key-File-"];

impl Scanner {
    /// Prepares the search.
    pub fn new() -> Self {
        let starts = KEY_STARTS
            .iter()
            .copied()
            .chain(TOKENS.iter().map(|token| token.start));
        Scanner {
            starts: AhoCorasick::new(starts).expect("the starts are few and short"),
        }
    }

    /// Everything that is in `content`, by kind.
    pub fn scan(&self, content: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        if let Some(what) = key_blocks::der(content) {
            add(&mut hits, KEY_ID, what, || 1);
        }
        for found in self.starts.find_iter(content) {
            let (at, behind) = (found.start(), &content[found.end()..]);
            let line = || 1 + content[..at].iter().filter(|byte| **byte == b'\n').count();
            match found.pattern().as_usize() {
                0 | 1 => {
                    if let Some(what) = key_blocks::pem(behind) {
                        add(&mut hits, KEY_ID, what, line);
                    }
                }
                2 => {
                    if let Some(what) = key_blocks::putty(behind) {
                        add(&mut hits, KEY_ID, what, line);
                    }
                }
                number => {
                    let token = &TOKENS[number - KEY_STARTS.len()];
                    if is_token(token, content, at) {
                        add(&mut hits, token.id, token.what, line);
                    }
                }
            }
        }
        hits
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner::new()
    }
}

fn add(hits: &mut Vec<Hit>, id: &'static str, what: &'static str, line: impl Fn() -> usize) {
    if let Some(hit) = hits.iter_mut().find(|hit| hit.id == id && hit.what == what) {
        hit.count += 1;
    } else if hits.len() < MAX_HITS {
        hits.push(Hit {
            id,
            what,
            line: line(),
            count: 1,
        });
    }
}
