//! Reading what strace wrote: one [`Call`] for each system call that succeeded, in the order in
//! which they returned.
//!
//! The form is that of `strace -f -y -xx -o FILE`: texts and the paths behind descriptors are
//! escaped byte for byte, so no text holds a quote or a bracket of its own (strace(1), -xx and
//! -y). What a call does is not judged here.

use std::collections::HashMap;

/// One system call.
pub struct Call<'a> {
    /// How many calls had returned when this one began: those an fsync surely covers.
    pub begun: usize,
    /// The thread.
    pub thread: u32,
    /// Its name, for example `pwrite64`.
    pub name: String,
    /// Its arguments as they were printed.
    pub args: Vec<Text<'a>>,
    /// What it returned.
    pub result: i64,
    /// The same as it was printed: a new descriptor has its path.
    pub returned: Text<'a>,
}

/// A piece of the output; it is owned when a call was printed in two lines.
pub type Text<'a> = std::borrow::Cow<'a, str>;

/// A descriptor as `-y` prints it: `4<path>` or `4<path>(deleted)`.
pub struct Descriptor {
    pub number: i32,
    pub path: String,
    pub is_deleted: bool,
}

/// Every call that succeeded.
pub fn parse(text: &str) -> Vec<Call<'_>> {
    let mut waiting: HashMap<u32, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (thread, rest) = line.split_once(' ').expect("a thread and a call");
        let thread: u32 = thread.parse().expect("a thread's number");
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            waiting.insert(thread, (calls.len(), first.to_owned()));
            continue;
        }
        let call = match rest.strip_prefix("<... ") {
            None => read(rest, Text::Borrowed).map(|call| (calls.len(), call)),
            Some(second) => {
                let (begun, first) = waiting.remove(&thread).expect("it was begun");
                let (_, second) = second.split_once(" resumed>").expect("it goes on");
                let whole = first + second;
                read(&whole, |piece| Text::Owned(piece.to_owned())).map(|call| (begun, call))
            }
        };
        if let Some((begun, (name, args, result, returned))) = call {
            calls.push(Call {
                begun,
                thread,
                name,
                args,
                result,
                returned,
            });
        }
    }
    calls
}

type Parts<'a> = (String, Vec<Text<'a>>, i64, Text<'a>);

/// `name(args) = result`; `None` when it failed or never returned.
fn read<'t, 'a>(line: &'t str, keep: impl Fn(&'t str) -> Text<'a>) -> Option<Parts<'a>> {
    let open = line.find('(').expect("a call has arguments");
    let (pieces, end) = split(line, open + 1);
    let returned = line[end..].trim_start().strip_prefix('=')?.trim_start();
    let number = returned
        .split(|c: char| !c.is_ascii_hexdigit() && c != '-' && c != 'x')
        .next()?;
    let result = match number.strip_prefix("0x") {
        Some(_) => 0,
        None => number.parse().ok()?,
    };
    (result >= 0).then(|| {
        let args = pieces.into_iter().map(&keep).collect();
        (line[..open].to_owned(), args, result, keep(returned))
    })
}

/// The arguments from `at` on, and where the text goes on after their bracket.
fn split(line: &str, mut at: usize) -> (Vec<&str>, usize) {
    let bytes = line.as_bytes();
    let mut pieces = Vec::new();
    let mut open = Vec::new();
    let mut start = at;
    loop {
        match bytes[at] {
            // Nothing that is escaped can hold a quote.
            b'"' => at += 1 + line[at + 1..].find('"').expect("the text ends"),
            // A path, not a comparison or a shift: those are never printed in arguments.
            b'<' => at += line[at..].find('>').expect("the path ends"),
            b'(' | b'[' | b'{' => open.push(bytes[at]),
            b')' if open.is_empty() => {
                pieces.push(line[start..at].trim());
                return (pieces, at + 1);
            }
            b')' | b']' | b'}' => drop(open.pop()),
            b',' if open.is_empty() => {
                pieces.push(line[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
}

/// The bytes of an escaped text in quotes.
pub fn bytes(piece: &str) -> Vec<u8> {
    let end = piece.rfind('"').expect("a text in quotes");
    assert_eq!(end + 1, piece.len(), "strace cut a text short");
    unescape(&piece[1..end])
}

/// A text in quotes that is a path.
pub fn path(piece: &str) -> String {
    String::from_utf8(bytes(piece)).expect("paths of the test are UTF-8")
}

/// The bytes of all parts of an `iovec`.
pub fn vector(piece: &str) -> Vec<u8> {
    piece
        .split("iov_base=\"")
        .skip(1)
        .flat_map(|part| unescape(&part[..part.find('"').expect("the text ends")]))
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let hex = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    };
    let escaped = text.as_bytes().chunks_exact(4);
    assert!(escaped.remainder().is_empty(), "not escaped: {text}");
    escaped
        .map(|four| (hex(four[2]) << 4) | hex(four[3]))
        .collect()
}

/// What is behind a descriptor; `AT_FDCWD<path>` is -100.
pub fn descriptor(piece: &str) -> Option<Descriptor> {
    let (number, rest) = piece.split_once('<')?;
    let (path, after) = rest.split_once('>')?;
    let number = match number {
        "AT_FDCWD" => -100,
        number => number.parse().ok()?,
    };
    if !path.starts_with("\\x2f") {
        return None; // A pipe, a socket, an anonymous file.
    }
    Some(Descriptor {
        number,
        path: String::from_utf8(unescape(path)).ok()?,
        is_deleted: after.starts_with("(deleted)"),
    })
}

/// A number as an argument, decimal.
pub fn number(piece: &str) -> u64 {
    let piece = piece.trim_matches(['[', ']']);
    piece
        .parse()
        .unwrap_or_else(|_| panic!("no number: {piece}"))
}
