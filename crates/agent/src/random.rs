//! The kernel's random generator: seeded anew from the host's bytes, and read.
//!
//! Writing to /dev/urandom is not enough: the bytes go into the pool, and the generator that
//! everybody reads from goes on with its old key for up to a minute. So the bytes are credited
//! (RNDADDENTROPY) and the generator is told to take them (RNDRESEEDCRNG); see random(4).
#![expect(
    unsafe_code,
    reason = "rustix has these two calls only as opcodes and structures"
)]

use crate::files;
use crate::outcome::{Doing, Failure, Step};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{NoArg, Setter, ioctl, opcode};
use rustix::rand::{GetRandomFlags, getrandom};
use stampo_agent_protocol::{Outcome, Secret};
use std::path::Path;

/// What systemd-random-seed(8) feeds to the kernel at the next boot.
const SAVED_SEED: &str = "/var/lib/systemd/random-seed";
const SAVED_SEED_BYTES: usize = 512;
/// The most bytes that a request may bring.
const WORDS: usize = 512 / 4;

/// `struct rand_pool_info` of linux/random.h with room for the longest seed.
#[repr(C)]
struct PoolInfo {
    entropy_bits: i32,
    size_bytes: i32,
    words: [u32; WORDS],
}

/// Stops trusting the randomness that the template had, now and at the next boot.
pub(crate) fn reseed(seed: &Secret) -> Step {
    let outcome = reseed_kernel(seed)?;
    if Path::new(SAVED_SEED).exists() {
        files::put(Path::new(SAVED_SEED), &bytes::<SAVED_SEED_BYTES>()?, 0o600)?;
    }
    Ok(outcome)
}

/// Gives the kernel's generator a new key, and everybody who asks it from now on.
pub(crate) fn reseed_kernel(seed: &Secret) -> Step {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let device =
        rustix::fs::open("/dev/urandom", flags, Mode::empty()).doing("open /dev/urandom")?;
    add_entropy(&device, seed.expose())?;
    // SAFETY: RNDRESEEDCRNG is `_IO('R', 7)` and takes no argument (linux/random.h).
    unsafe { ioctl(&device, NoArg::<{ opcode::none(b'R', 7) }>::new()) }
        .doing("reseed the kernel's generator")?;
    Ok(Outcome::Done)
}

fn add_entropy(device: &OwnedFd, seed: &[u8]) -> Result<(), Failure> {
    let mut info = PoolInfo {
        entropy_bits: 0,
        size_bytes: 0,
        words: [0; WORDS],
    };
    for (word, bytes) in info.words.iter_mut().zip(seed.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().expect("chunks of four"));
        info.size_bytes += 4;
        info.entropy_bits += 32;
    }
    // SAFETY: RNDADDENTROPY is `_IOW('R', 3, int[2])` and reads a `rand_pool_info`: two ints, then
    // `size_bytes` bytes, which `words` has (random(4)).
    unsafe {
        ioctl(
            device,
            Setter::<{ opcode::write::<[i32; 2]>(b'R', 3) }, PoolInfo>::new(info),
        )
    }
    .doing("add the host's randomness to the kernel's")
}

/// Fresh bytes from the kernel.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    // Short reads are for more than 256 bytes and a signal in between.
    let mut filled = 0;
    while filled < N {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())
            .doing("read the kernel's randomness")?;
    }
    Ok(bytes)
}

/// The kernel's generator with the traits that ssh-key wants.
pub(crate) struct Kernel;

impl ssh_key::rand_core::RngCore for Kernel {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.try_fill_bytes(dest)
            .expect("the kernel has a generator since Linux 3.17");
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), ssh_key::rand_core::Error> {
        for chunk in dest.chunks_mut(32) {
            let fresh: [u8; 32] = bytes().map_err(|_| {
                std::num::NonZeroU32::new(ssh_key::rand_core::Error::CUSTOM_START)
                    .map(ssh_key::rand_core::Error::from)
                    .expect("the constant is not zero")
            })?;
            chunk.copy_from_slice(&fresh[..chunk.len()]);
        }
        Ok(())
    }
}

impl ssh_key::rand_core::CryptoRng for Kernel {}
