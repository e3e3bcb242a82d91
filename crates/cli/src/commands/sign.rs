//! Signing with what people have: ssh-keygen, with a key in a file or in an agent.

use stampo_api::{Kind, Problem, Reply};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The longest public key that is read, in bytes.
const LONGEST_KEY: u64 = 16 << 10;

/// A key that somebody signs with.
pub struct SigningKey {
    /// What ssh-keygen is given: the private key, or the public one of a key in an agent.
    file: PathBuf,
    /// The public key, one line.
    pub line: String,
}

/// The key that was named, or the usual one if it is there.
pub fn key(named: Option<&Path>) -> Reply<Option<SigningKey>> {
    let usual = || {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        let file = home.join(".ssh/id_ed25519");
        (file.exists() && public(&file).exists()).then_some(file)
    };
    let Some(file) = named.map(Path::to_owned).or_else(usual) else {
        return Ok(None);
    };
    let line = read_public(&public(&file))?;
    Ok(Some(SigningKey { file, line }))
}

/// Where the public key of a key file is.
fn public(file: &Path) -> PathBuf {
    if file.extension().is_some_and(|end| end == "pub") {
        return file.to_owned();
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// The line of a public key's file.
pub fn read_public(path: &Path) -> Reply<String> {
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Usage,
        };
        let what = format!("read the public key {}: {error}", path.display());
        Problem::new(kind, what).hint("ssh-keygen -t ed25519")
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LONGEST_KEY)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.contains("PRIVATE KEY") {
        let what = format!("use {}: it is a private key", path.display());
        return Err(Problem::new(Kind::Usage, what).hint(format!("{}.pub", path.display())));
    }
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The signature over a text. ssh-keygen asks for a passphrase, or for a touch, on the terminal.
pub fn sign(key: &SigningKey, namespace: &str, text: &str) -> Reply<String> {
    let failed = |why: String| {
        let what = format!("sign with {}: {why}", key.file.display());
        Problem::new(Kind::Failed, what).hint(format!(
            "ssh-keygen -Y sign -n {namespace} -f {}, which says more",
            key.file.display()
        ))
    };
    let started = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
        .arg(&key.file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| {
        let what = format!("start ssh-keygen: {error}");
        Problem::new(Kind::Failed, what).hint("apt install openssh-client")
    })?;
    let mut stdin = child.stdin.take();
    let written = stdin.as_mut().map(|pipe| pipe.write_all(text.as_bytes()));
    drop(stdin);
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("ssh-keygen: {}", output.status)));
    }
    if let Some(Err(error)) = written {
        return Err(failed(error.to_string()));
    }
    String::from_utf8(output.stdout).map_err(|_| failed("it made no text".to_owned()))
}
