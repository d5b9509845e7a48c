//! Growing pauses between attempts. One producer serves a database, so there is no crowd that
//! jitter would have to spread; `runtime::retry` is for those that come in numbers.

use std::time::Duration;

/// From `first` to `longest`, doubling.
#[derive(Debug)]
pub(crate) struct Patience {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Patience {
    /// Pauses from `first` to `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The pause before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// Something succeeded.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_begin_again() {
        let millis = Duration::from_millis;
        let mut patience = Patience::new(millis(100), millis(300));
        let pauses = [(); 4].map(|()| patience.pause());
        assert_eq!(pauses, [100, 200, 300, 300].map(millis));
        patience.reset();
        assert_eq!(patience.pause(), millis(100));
    }
}
