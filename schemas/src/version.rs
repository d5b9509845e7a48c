//! The source version: the one number that decides which of two states of a document wins.
//!
//! It is MongoDB's cluster time as `seconds << 31 | increment`. A BSON timestamp holds both as
//! 32-bit unsigned integers (BSON specification, type 0x11); `seconds << 32` would turn negative in
//! 2038, and PostgreSQL has no unsigned `bigint`, so the increment gives up its top bit. The server
//! counts operations within one second there; it never comes near 2^31.

use bson::Timestamp;

const INCREMENT_BITS: u32 = 31;
const INCREMENT_MASK: u32 = (1 << INCREMENT_BITS) - 1;

/// A point in the source's cluster time, ordered; 0 is before everything.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Version(i64);

impl Version {
    /// Before every cluster time: the version of a row that is not ours.
    pub const ZERO: Self = Self(0);

    /// The version of a cluster time. An increment of 2^31 or more, which no server reaches,
    /// counts as the largest one.
    pub fn from_cluster_time(time: Timestamp) -> Self {
        let increment = time.increment.min(INCREMENT_MASK);
        Self((i64::from(time.time) << INCREMENT_BITS) | i64::from(increment))
    }

    /// The cluster time of this version.
    pub fn cluster_time(self) -> Timestamp {
        let increment = u32::try_from(self.0 & i64::from(INCREMENT_MASK)).unwrap_or(INCREMENT_MASK);
        Timestamp {
            time: u32::try_from(self.0 >> INCREMENT_BITS).unwrap_or(u32::MAX),
            increment,
        }
    }

    /// The version held by a number of the wire or of `lc_version`; `None` when it is negative.
    pub fn from_i64(number: i64) -> Option<Self> {
        (number >= 0).then_some(Self(number))
    }

    /// The number for the wire and for `lc_version`; never negative.
    pub fn as_i64(self) -> i64 {
        self.0
    }

    /// The whole seconds since 1970 of this cluster time.
    pub fn seconds(self) -> i64 {
        self.0 >> INCREMENT_BITS
    }

    /// The largest version below this one; [`Version::ZERO`] stays.
    #[must_use]
    pub fn previous(self) -> Self {
        Self((self.0 - 1).max(0))
    }
}

impl std::fmt::Display for Version {
    /// `seconds.increment`, as MongoDB's tools show a cluster time.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = self.cluster_time();
        write!(f, "{}.{}", time.time, time.increment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_cluster_times_after_2038() {
        let times = [(0, 0), (0, 1), (1, 0), (2_200_000_000, 7), (u32::MAX, 1)];
        let versions: Vec<_> = times
            .iter()
            .map(|&(time, increment)| Version::from_cluster_time(Timestamp { time, increment }))
            .collect();
        assert!(versions.is_sorted());
        for (version, (time, increment)) in versions.iter().zip(times) {
            assert!(version.as_i64() >= 0);
            assert_eq!(version.cluster_time(), Timestamp { time, increment });
            assert_eq!(Version::from_i64(version.as_i64()), Some(*version));
        }
        assert_eq!(Version::from_i64(-1), None);
        assert_eq!(versions[1].previous(), Version::ZERO);
    }
}
