//! Signatures with SSH keys (SSHSIG), as `ssh-keygen -Y sign` makes them.
//!
//! Source: OpenSSH's PROTOCOL.sshsig. Keys are Ed25519 and ECDSA over P-256, and Ed25519 in a
//! security key; RSA is refused with a message of its own, since this program can't check it.

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

/// The namespace of what people sign about versions.
pub const APPROVAL_NAMESPACE: &str = "stampo-approval";
/// The namespace of the site's checkpoints of its audit.
pub const AUDIT_NAMESPACE: &str = "stampo-audit";
/// The longest signature, in bytes.
pub const LONGEST_SIGNATURE: usize = 8 << 10;
/// The longest public key, in bytes.
pub const LONGEST_KEY: usize = 4 << 10;

/// Why a key or a signature is refused.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It is no public key.
    #[error("read the public key")]
    Key(#[source] ssh_key::Error),
    /// A kind of key that can't be checked here.
    #[error("use a key of the kind {0}: make one with ssh-keygen -t ed25519")]
    KeyKind(String),
    /// Too long.
    #[error("read a key or a signature of {0} bytes: that is too long")]
    Long(usize),
    /// It is no signature.
    #[error("read the signature")]
    Signature(#[source] ssh_key::Error),
    /// It is by another key.
    #[error("check the signature: it is by another key, {0}")]
    OtherKey(String),
    /// It is for something else.
    #[error("check the signature: it was made for {0:?}")]
    Namespace(String),
    /// The text is not the one that was signed.
    #[error("check the signature: it is not of this text")]
    Wrong,
    /// It could not be made.
    #[error("sign")]
    Sign(#[source] ssh_key::Error),
}

/// A public key that can be checked with. Two are equal whatever their comments say.
#[derive(Debug, Clone)]
pub struct Key(PublicKey);

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.0.key_data() == other.0.key_data()
    }
}

impl Key {
    /// The key of one line in OpenSSH's form.
    pub fn parse(line: &str) -> Result<Key, SignatureError> {
        let line = line.trim();
        if line.len() > LONGEST_KEY {
            return Err(SignatureError::Long(line.len()));
        }
        let key = PublicKey::from_openssh(line).map_err(SignatureError::Key)?;
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {}
            Algorithm::Ecdsa {
                curve: ssh_key::EcdsaCurve::NistP256,
            } => {}
            other => return Err(SignatureError::KeyKind(other.to_string())),
        }
        Ok(Key(key))
    }

    /// Its fingerprint, `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// One line in OpenSSH's form, without a comment.
    pub fn line(&self) -> String {
        let bare = PublicKey::from(self.0.key_data().clone());
        bare.to_openssh().unwrap_or_default()
    }

    /// Whether `signature` is this key's of `text`, for this use.
    pub fn verify(
        &self,
        namespace: &str,
        text: &str,
        signature: &str,
    ) -> Result<(), SignatureError> {
        let signature = read(signature)?;
        if signature.public_key() != self.0.key_data() {
            return Err(SignatureError::OtherKey(of(&signature).fingerprint()));
        }
        if signature.namespace() != namespace {
            return Err(SignatureError::Namespace(signature.namespace().to_owned()));
        }
        let checked = self.0.verify(namespace, text.as_bytes(), &signature);
        checked.map_err(|_| SignatureError::Wrong)
    }
}

fn read(signature: &str) -> Result<SshSig, SignatureError> {
    if signature.len() > LONGEST_SIGNATURE {
        return Err(SignatureError::Long(signature.len()));
    }
    SshSig::from_pem(signature.trim()).map_err(SignatureError::Signature)
}

fn of(signature: &SshSig) -> Key {
    Key(PublicKey::from(signature.public_key().clone()))
}

/// The key that a signature says it is by. Nothing is checked.
pub fn key_of(signature: &str) -> Result<Key, SignatureError> {
    read(signature).map(|signature| of(&signature))
}

/// Signs with a private key in OpenSSH's form: for the site's own key.
pub fn sign(private: &str, namespace: &str, text: &str) -> Result<String, SignatureError> {
    let key = PrivateKey::from_openssh(private).map_err(SignatureError::Key)?;
    let signed = key.sign(namespace, HashAlg::Sha512, text.as_bytes());
    let signed = signed.map_err(SignatureError::Sign)?;
    signed.to_pem(LineEnding::LF).map_err(SignatureError::Sign)
}

/// A new Ed25519 key made of these random bytes: the private key in OpenSSH's form, and the line of
/// its public key.
pub fn new_key(seed: [u8; 32], comment: &str) -> Result<(String, String), SignatureError> {
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    let key = PrivateKey::new(pair, comment).map_err(SignatureError::Sign)?;
    let private = key
        .to_openssh(LineEnding::LF)
        .map_err(SignatureError::Sign)?;
    let public = key
        .public_key()
        .to_openssh()
        .map_err(SignatureError::Sign)?;
    Ok((private.to_string(), public))
}

/// The line of the public key of a private key in OpenSSH's form.
pub fn public_of(private: &str) -> Result<String, SignatureError> {
    let key = PrivateKey::from_openssh(private).map_err(SignatureError::Key)?;
    let bare = PublicKey::from(key.public_key().key_data().clone());
    bare.to_openssh().map_err(SignatureError::Key)
}

/// The one form of a key's line that is kept where nothing may be changed.
pub fn plain_line(line: &str) -> String {
    Key::parse(line).map(|key| key.line()).unwrap_or_default()
}

/// The one form of a signature that is kept where nothing may be changed.
pub fn plain_signature(signature: &str) -> String {
    let again = read(signature).map(|read| read.to_pem(LineEnding::LF).unwrap_or_default());
    again.unwrap_or_default()
}
