//! Everything random that one guest gets, made before the first byte is written.
//!
//! All randomness of personalisation comes in through [`GuestSecrets::generate`], so that with a
//! seeded generator the result is the same to the byte. Nothing here is ever logged or stored: a
//! step that is repeated makes new secrets and writes all of them again.

use super::error::PersonaliseError;
use rand::{CryptoRng, RngCore};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey};
use uuid::Uuid;

/// Bytes of `/var/lib/systemd/random-seed`: the pool size that systemd-random-seed(8) uses.
pub(super) const RANDOM_SEED_BYTES: usize = 512;

/// The random values of one guest.
pub struct GuestSecrets {
    pub(super) machine_id: Uuid,
    pub(super) filesystem_uuid: Uuid,
    pub(super) nvme_host: Uuid,
    pub(super) iscsi: [u8; 6],
    pub(super) random_seed: [u8; RANDOM_SEED_BYTES],
    pub(super) host_keys: Vec<PrivateKey>,
}

impl GuestSecrets {
    /// New secrets out of `rng`. Takes well under a millisecond.
    pub fn generate(rng: &mut impl CryptoRng) -> Result<Self, PersonaliseError> {
        let mut random_seed = [0; RANDOM_SEED_BYTES];
        rng.fill_bytes(&mut random_seed);
        let mut iscsi = [0; 6];
        rng.fill_bytes(&mut iscsi);
        Ok(GuestSecrets {
            machine_id: random_uuid(rng),
            filesystem_uuid: random_uuid(rng),
            nvme_host: random_uuid(rng),
            iscsi,
            random_seed,
            host_keys: vec![ed25519(rng)?, ecdsa(rng)?],
        })
    }
}

/// A version 4 UUID (RFC 9562, section 5.4). machine-id(5) wants this form too.
fn random_uuid(rng: &mut impl RngCore) -> Uuid {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn ed25519(rng: &mut impl CryptoRng) -> Result<PrivateKey, PersonaliseError> {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    PrivateKey::new(pair, "").map_err(PersonaliseError::HostKey)
}

fn ecdsa(rng: &mut impl CryptoRng) -> Result<PrivateKey, PersonaliseError> {
    let algorithm = Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    };
    PrivateKey::random(&mut OlderTraits(rng), algorithm).map_err(PersonaliseError::HostKey)
}

/// Our generator with the traits of the older rand_core that ssh-key is built on.
struct OlderTraits<'a, R>(&'a mut R);

impl<R: CryptoRng> ssh_key::rand_core::RngCore for OlderTraits<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), ssh_key::rand_core::Error> {
        self.0.fill_bytes(dest);
        Ok(())
    }
}

impl<R: CryptoRng> ssh_key::rand_core::CryptoRng for OlderTraits<'_, R> {}
