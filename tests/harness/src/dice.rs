//! Chance that can be repeated: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
//!
//! Written out here so that a seed gives the same data for ever, whatever a crate's next version
//! does. A throw depends on what it is for, never on what was thrown before it elsewhere.

/// A source of random numbers for one purpose.
#[derive(Debug, Clone)]
pub struct Dice(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Dice {
    /// The dice for this purpose: the same parts throw the same numbers.
    pub fn new(parts: &[u64]) -> Self {
        let seed = parts.iter().fold(0, |state: u64, part| {
            mix(state.wrapping_add(STEP) ^ mix(*part))
        });
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `end`, which is not 0. The bias of the remainder is below one in a billion.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % end).unwrap_or(0)
    }

    /// The same for a larger number.
    pub fn below_u64(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// The same for a document's number.
    pub fn below_u32(&mut self, end: u32) -> u32 {
        u32::try_from(self.number() % u64::from(end.max(1))).unwrap_or(0)
    }

    /// A number below `end` as MongoDB's shell would store a small one.
    pub fn int(&mut self, end: i32) -> i32 {
        let end = u64::from(end.unsigned_abs().max(1));
        i32::try_from(self.number() % end).unwrap_or(0)
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.below_u32(100) < percent
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A fraction from 0 to 1, in steps of a ten-thousandth, as people round them.
    pub fn fraction(&mut self) -> f64 {
        f64::from(self.int(10_001)) / 10_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn throws_the_same_numbers_for_ever() {
        let mut dice = Dice::new(&[1, 2]);
        let thrown = [dice.number(), dice.number()];
        assert_eq!(
            thrown,
            [12_298_359_315_183_295_589, 1_354_086_733_187_551_854]
        );
        assert_ne!(Dice::new(&[2, 1]).number(), thrown[0]);
    }
}
