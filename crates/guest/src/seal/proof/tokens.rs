//! Access tokens by their form: a fixed start, then a run of characters of a known kind.
//!
//! Sources: the issuers' own descriptions (GitHub "token formats", GitLab "token overview", AWS
//! IAM "unique identifiers", Slack, RFC 7519). A token whose body is obviously made up (few
//! different characters, or `EXAMPLE`) does not count.

/// A kind of token.
#[derive(Debug)]
pub struct Token {
    /// The id of the check.
    pub id: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What it starts with.
    pub start: &'static str,
    /// The characters of its body.
    body: Body,
    /// Fewest characters of its body.
    min: usize,
    /// Most characters of its body; a longer run is something else.
    max: usize,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    /// `A-Z2-7`.
    Base32,
    /// `A-Za-z0-9`.
    Alphanumeric,
    /// `A-Za-z0-9_`.
    Word,
    /// `A-Za-z0-9_-`.
    Base64Url,
    /// `A-Za-z0-9/`, as in the path of a hook.
    Path,
    /// A JSON Web Token: three parts of Base64Url with dots.
    Jwt,
}

/// Longest body that is looked at.
const ANY: usize = 4096;

const fn token(
    id: &'static str,
    what: &'static str,
    start: &'static str,
    body: Body,
    (min, max): (usize, usize),
) -> Token {
    Token {
        id,
        what,
        start,
        body,
        min,
        max,
    }
}

/// Every kind that is known.
#[rustfmt::skip]
pub const TOKENS: &[Token] = &[
    token("token.aws", "AWS access key", "AKIA", Body::Base32, (16, 16)),
    token("token.aws", "AWS temporary access key", "ASIA", Body::Base32, (16, 16)),
    token("token.github", "GitHub token", "ghp_", Body::Alphanumeric, (36, 255)),
    token("token.github", "GitHub token", "gho_", Body::Alphanumeric, (36, 255)),
    token("token.github", "GitHub token", "ghu_", Body::Alphanumeric, (36, 255)),
    token("token.github", "GitHub token", "ghs_", Body::Alphanumeric, (36, 255)),
    token("token.github", "GitHub token", "ghr_", Body::Alphanumeric, (36, 255)),
    token("token.github", "GitHub token", "github_pat_", Body::Word, (60, 255)),
    token("token.gitlab", "GitLab token", "glpat-", Body::Base64Url, (20, 255)),
    token("token.gitlab", "GitLab runner token", "glrt-", Body::Base64Url, (20, 255)),
    token("token.gitlab", "GitLab deploy token", "gldt-", Body::Base64Url, (20, 255)),
    token("token.gitlab", "GitLab trigger token", "glptt-", Body::Base64Url, (20, 255)),
    token("token.slack", "Slack bot token", "xoxb-", Body::Base64Url, (20, 255)),
    token("token.slack", "Slack user token", "xoxp-", Body::Base64Url, (20, 255)),
    token("token.slack", "Slack workspace token", "xoxa-", Body::Base64Url, (20, 255)),
    token("token.slack", "Slack refresh token", "xoxr-", Body::Base64Url, (20, 255)),
    token("token.slack", "Slack session token", "xoxs-", Body::Base64Url, (20, 255)),
    token("token.slack", "Slack app token", "xapp-", Body::Base64Url, (20, 255)),
    token("token.slack", "Slack web hook", "hooks.slack.com/services/", Body::Path, (30, 255)),
    token("token.jwt", "JSON Web Token", "eyJ", Body::Jwt, (40, ANY)),
    token("token.vault", "Vault token", "hvs.", Body::Base64Url, (24, 255)),
    token("token.vault", "Vault batch token", "hvb.", Body::Base64Url, (24, 512)),
    token("token.npm", "npm token", "npm_", Body::Alphanumeric, (36, 36)),
    token("token.pypi", "PyPI token", "pypi-AgE", Body::Base64Url, (50, 1024)),
    token("token.google", "Google API key", "AIza", Body::Base64Url, (35, 35)),
    token("token.google", "Google access token", "ya29.", Body::Base64Url, (40, 1024)),
    token("token.docker", "Docker token", "dckr_pat_", Body::Base64Url, (24, 255)),
    token("token.digitalocean", "DigitalOcean token", "dop_v1_", Body::Alphanumeric, (64, 64)),
    token("token.stripe", "Stripe key", "sk_live_", Body::Alphanumeric, (20, 255)),
    token("token.huggingface", "Hugging Face token", "hf_", Body::Alphanumeric, (34, 40)),
    token("token.tailscale", "Tailscale key", "tskey-", Body::Base64Url, (20, 255)),
    token("token.age", "age identity", "AGE-SECRET-KEY-1", Body::Alphanumeric, (58, 58)),
];

/// Whether a token of this kind is at `at` in `text`.
pub fn is_token(token: &Token, text: &[u8], at: usize) -> bool {
    let is_start = at == 0 || text.get(at - 1).is_none_or(|byte| !is_word(*byte));
    let Some(rest) = text.get(at + token.start.len()..) else {
        return false;
    };
    let body = match token.body {
        Body::Jwt => return is_start && is_jwt(&text[at..]),
        Body::Base32 => run(rest, |b| {
            b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)
        }),
        Body::Alphanumeric => run(rest, |b| b.is_ascii_alphanumeric()),
        Body::Word => run(rest, is_word),
        Body::Base64Url => run(rest, |b| is_word(b) || b == b'-'),
        Body::Path => run(rest, |b| b.is_ascii_alphanumeric() || b == b'/'),
    };
    let ends = rest.get(body.len()).is_none_or(|byte| !is_word(*byte));
    is_start && ends && (token.min..=token.max).contains(&body.len()) && looks_random(body)
}

/// RFC 7519 in its compact form: two JSON objects and a signature. `text` starts at the first.
fn is_jwt(text: &[u8]) -> bool {
    let is_part = |byte: u8| is_word(byte) || byte == b'-';
    let header = run(text, is_part);
    let Some(b'.') = text.get(header.len()) else {
        return false;
    };
    let rest = &text[header.len() + 1..];
    let claims = run(rest, is_part);
    let Some(b'.') = rest.get(claims.len()) else {
        return false;
    };
    let signature = run(&rest[claims.len() + 1..], is_part);
    // `{"alg":…` is at least ten characters in base64.
    header.len() >= 16 && claims.starts_with(b"eyJ") && signature.len() >= 20
}

/// The longest start of `text` of which every byte `is` right, at most [`ANY`] + 1 bytes.
fn run(text: &[u8], is: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().take(ANY + 1).position(|byte| !is(*byte));
    &text[..end.unwrap_or_else(|| text.len().min(ANY + 1))]
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether it could be a real value and not an example such as `xxxxxxxx`.
fn looks_random(body: &[u8]) -> bool {
    let mut seen = [false; 256];
    body.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let different = seen.iter().filter(|seen| **seen).count();
    let is_example = body
        .windows(7)
        .any(|window| window.eq_ignore_ascii_case(b"example"));
    different >= 6 && !is_example
}
