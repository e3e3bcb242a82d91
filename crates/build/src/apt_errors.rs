//! From the words of apt, dpkg and mmdebstrap to an error that names the cause.
//!
//! The words are those of apt 2.6 and 3.0 in the C locale; what is not known stays as it was said.

/// What stopped the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// No archive has a package of this name.
    PackageNotFound(String),
    /// A locked version is gone from the archive.
    VersionGone(String),
    /// The archive can't be reached.
    Network(String),
    /// The archive has no such release, or its signature does not fit.
    Archive(String),
    /// The disk is full.
    NoSpace,
    /// Dependencies can't be met.
    Dependencies(String),
    /// A setting of the recipe could not be made in the guest.
    Setting(String),
    /// Anything else: the last error lines.
    Other(String),
}

/// How the customising script marks its own errors in the log.
pub const SETTING_MARK: &str = "E: stampo: ";

// What the programs say, by cause. apt and dpkg run without translations.
const NO_SPACE: &[&str] = &[
    "No space left on device",
    "You don't have enough free space",
];
const NO_PACKAGE: &[&str] = &[
    "Unable to locate package",
    "Couldn't find any package",
    "has no installation candidate",
];
const NETWORK: &[&str] = &[
    "Temporary failure resolving",
    "Could not resolve",
    "Could not connect",
    "Cannot initiate the connection",
    "Connection timed out",
    "Connection failed",
    "Network is unreachable",
];
const ARCHIVE: &[&str] = &[
    "does not have a Release file",
    "NO_PUBKEY",
    "is not signed",
    "404  Not Found",
    "File not found",
];

/// The cause of a failure, from the log's lines.
pub fn cause(log: &[String]) -> Cause {
    // In this order: what comes first is the cause of what comes later.
    let find = |parts: &[&str]| {
        log.iter()
            .find(|line| parts.iter().any(|part| line.contains(part)))
    };
    if find(NO_SPACE).is_some() {
        return Cause::NoSpace;
    }
    if let Some(line) = find(&[SETTING_MARK]) {
        let text = line.split(SETTING_MARK).nth(1).unwrap_or(line);
        return Cause::Setting(text.to_owned());
    }
    if let Some(line) = find(NO_PACKAGE) {
        return Cause::PackageNotFound(package_in(line));
    }
    let is_gone = |line: &&String| line.contains("E: Version ") && line.contains("was not found");
    if let Some(line) = log.iter().find(is_gone) {
        return Cause::VersionGone(clean(line));
    }
    if let Some(line) = find(NETWORK) {
        return Cause::Network(clean(line));
    }
    if let Some(line) = find(ARCHIVE) {
        return Cause::Archive(clean(line));
    }
    match unmet_dependencies(log) {
        Some(unmet) => Cause::Dependencies(unmet),
        None => Cause::Other(last_errors(log)),
    }
}

/// The first lines about dependencies that can't be met, if apt says that there are any.
fn unmet_dependencies(log: &[String]) -> Option<String> {
    let at = log
        .iter()
        .position(|line| line.contains("unmet dependencies"))?;
    let lines: Vec<&str> = log[at + 1..]
        .iter()
        .map(|line| line.trim())
        .filter(|line| line.contains("Depends:"))
        .take(3)
        .collect();
    Some(lines.join("; "))
}

/// The last three errors; the last line when there are none.
fn last_errors(log: &[String]) -> String {
    let errors = log.iter().filter(|line| line.starts_with("E: "));
    let errors: Vec<String> = errors.map(|line| clean(line)).collect();
    match &errors[errors.len().saturating_sub(3)..] {
        [] => log.last().cloned().unwrap_or_default(),
        last => last.join("; "),
    }
}

fn clean(line: &str) -> String {
    line.trim()
        .trim_start_matches("E: ")
        .trim_start_matches("W: ")
        .trim_start_matches("Err:")
        .to_owned()
}

/// The package in "Unable to locate package X" and "Package 'X' has no installation candidate".
fn package_in(line: &str) -> String {
    let after = |mark: &str| line.split(mark).nth(1).map(str::to_owned);
    after("Unable to locate package ")
        .or_else(|| line.split('\'').nth(1).map(str::to_owned))
        .or_else(|| line.split_whitespace().nth(2).map(str::to_owned))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_own_words() {
        let cases = [
            (
                "E: Unable to locate package nosuch",
                Cause::PackageNotFound("nosuch".into()),
            ),
            (
                "E: Package 'mailx' has no installation candidate",
                Cause::PackageNotFound("mailx".into()),
            ),
            (
                "E: Version '1' for 'bash' was not found",
                Cause::VersionGone("Version '1' for 'bash' was not found".into()),
            ),
            (
                "  Temporary failure resolving 'no.example'",
                Cause::Network("Temporary failure resolving 'no.example'".into()),
            ),
            (
                "tar: ./x: Cannot write: No space left on device",
                Cause::NoSpace,
            ),
            (
                "E: stampo: enable unit x",
                Cause::Setting("enable unit x".into()),
            ),
            (
                "E: The repository 'http://d/debian nosuch Release' does not have a Release file.",
                Cause::Archive(
                    "The repository 'http://d/debian nosuch Release' does not have a Release file."
                        .into(),
                ),
            ),
            ("E: strange", Cause::Other("strange".into())),
        ];
        for (line, expected) in cases {
            let log = vec![
                "I: running".to_owned(),
                line.to_owned(),
                "W: after".to_owned(),
            ];
            assert_eq!(cause(&log), expected);
        }
    }
}
