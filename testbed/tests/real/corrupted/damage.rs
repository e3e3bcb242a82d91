//! Random damage to a disk: the same for the same seed.

use super::copy::{BLOCK, Copy};
use stampo_image::device::BlockDevice;
use std::collections::BTreeSet;

/// Random numbers that are the same in every run (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Damages the copy in 1 to 64 places: every second time where the filesystem keeps its own
/// structures, else anywhere. The blocks that were hit.
pub fn damage(copy: &Copy, structures: &[u64], seed: u64) -> BTreeSet<u64> {
    let mut dice = Dice::new(seed);
    let everywhere = copy.size_bytes() / BLOCK;
    let aimed = seed.is_multiple_of(2);
    let pick = |dice: &mut Dice| match aimed {
        true => structures[dice.below(structures.len() as u64) as usize],
        false => dice.below(everywhere),
    };
    let mut hit = BTreeSet::new();
    for _ in 0..1 << dice.below(7) {
        let block = pick(&mut dice);
        let mut bytes = copy.now(block);
        match dice.below(4) {
            0 => {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << dice.below(8);
            }
            1 => bytes.fill(0),
            2 => {
                let start = dice.below(bytes.len() as u64) as usize;
                let end = (start + 1 + dice.below(64) as usize).min(bytes.len());
                bytes[start..end].fill_with(|| dice.next() as u8);
            }
            _ => {
                let other = pick(&mut dice);
                let theirs = copy.now(other);
                if theirs.len() == bytes.len() {
                    copy.write_at(other * BLOCK, &bytes)
                        .expect("a writable copy");
                    hit.insert(other);
                    bytes = theirs;
                }
            }
        }
        copy.write_at(block * BLOCK, &bytes)
            .expect("a writable copy");
        hit.insert(block);
    }
    hit
}
