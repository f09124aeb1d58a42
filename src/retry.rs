//! [`RetryPolicy`]: how often to try again and how long to wait, for pipelines and for the clients of
//! servers. Nothing sleeps here: whoever applies a policy does.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// A random number from 0 to below 1, for [`RetryPolicy::delay_after`]. Its quality is that of the
/// standard library's hash keys, which is enough to keep clients apart.
pub(crate) fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// How often a failed attempt is repeated, and after which delay (rule P5).
///
/// The default is 3 attempts, 100 ms apart. Whoever applies a policy asks
/// [`Error::is_retryable`](crate::Error::is_retryable) first: where trying again cannot help, there is
/// one attempt whatever the policy says. No delay is longer than 30 s unless
/// [`delay_max`](RetryPolicy::delay_max) says so.
///
/// ```
/// use std::time::Duration;
///
/// use samplestore::RetryPolicy;
///
/// let policy = RetryPolicy::linear(4, Duration::from_millis(100));
/// assert_eq!(policy.delay_after(1, 0.0), Some(Duration::from_millis(100)));
/// assert_eq!(policy.delay_after(3, 0.0), Some(Duration::from_millis(300)));
/// assert_eq!(policy.delay_after(4, 0.0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RetryPolicy {
    attempts_max: u32,
    backoff: Backoff,
    delay_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backoff {
    Fixed(Duration),
    Linear(Duration),
    Exponential(Duration),
}

const DELAY_MAX: Duration = Duration::from_secs(30);

impl RetryPolicy {
    /// One attempt.
    pub const fn none() -> Self {
        Self::new(1, Backoff::Fixed(Duration::ZERO))
    }

    /// At most `attempts_max` attempts (0 is taken as 1), `delay` apart.
    pub const fn fixed(attempts_max: u32, delay: Duration) -> Self {
        Self::new(attempts_max, Backoff::Fixed(delay))
    }

    /// At most `attempts_max` attempts (0 is taken as 1), the delay growing by `step` each time:
    /// `step`, `2 * step`, `3 * step` and so on.
    pub const fn linear(attempts_max: u32, step: Duration) -> Self {
        Self::new(attempts_max, Backoff::Linear(step))
    }

    /// At most `attempts_max` attempts (0 is taken as 1), the delay doubling each time and starting
    /// from `first`, of which a random half is left out so that many clients do not come back at
    /// once: "equal jitter" of M. Brooker, *Exponential Backoff And Jitter* (AWS Architecture Blog,
    /// 2015).
    pub const fn exponential(attempts_max: u32, first: Duration) -> Self {
        Self::new(attempts_max, Backoff::Exponential(first))
    }

    const fn new(attempts_max: u32, backoff: Backoff) -> Self {
        Self {
            attempts_max: if attempts_max == 0 { 1 } else { attempts_max },
            backoff,
            delay_max: DELAY_MAX,
        }
    }

    /// No delay longer than this; 30 s unless set.
    pub const fn delay_max(mut self, delay_max: Duration) -> Self {
        self.delay_max = delay_max;
        self
    }

    /// How many attempts there are at most, the first one counted; at least 1.
    #[must_use]
    pub const fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// How long to wait once `attempts` have failed, or `None` when that was the last one. `jitter`
    /// is a random number from 0 to 1 (what lies outside is cut); only exponential delays use it:
    /// 0 gives the half of the delay, 1 the whole.
    #[must_use]
    pub fn delay_after(&self, attempts: u32, jitter: f64) -> Option<Duration> {
        if attempts >= self.attempts_max {
            return None;
        }
        let earlier = attempts.saturating_sub(1);
        let delay = match self.backoff {
            Backoff::Fixed(delay) => delay.min(self.delay_max),
            Backoff::Linear(step) => step
                .saturating_mul(earlier.saturating_add(1))
                .min(self.delay_max),
            Backoff::Exponential(first) => {
                let factor = 2_u32.checked_pow(earlier).unwrap_or(u32::MAX);
                let whole = first.saturating_mul(factor).min(self.delay_max);
                let half = whole / 2;
                // `max` turns a NaN into 0; the sum may be rounded to above the whole.
                let part = jitter.max(0.0).clamp(0.0, 1.0);
                half.saturating_add((whole - half).mul_f64(part)).min(whole)
            }
        };
        Some(delay)
    }

    /// How long to wait once `attempts` have failed, the last one with `error`; `None` when there is
    /// to be no other.
    ///
    /// After an unknown outcome an attempt that succeeds proves nothing, so there is none until the
    /// storage was opened anew. Exponential delays get a random jitter.
    #[must_use]
    pub fn delay_after_error(&self, attempts: u32, error: &Error) -> Option<Duration> {
        match error.is_retryable() && error.kind() != ErrorKind::OutcomeUnknown {
            true => self.delay_after(attempts, random()),
            false => None,
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::fixed(3, Duration::from_millis(100))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delays_ms(policy: RetryPolicy, jitter: f64) -> Vec<u128> {
        (1..)
            .map_while(|attempts| policy.delay_after(attempts, jitter))
            .map(|delay| delay.as_millis())
            .collect()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_delays_of_each_kind() {
        assert_eq!(delays_ms(RetryPolicy::default(), 0.5), [100, 100]);
        assert_eq!(delays_ms(RetryPolicy::none(), 0.5), []);
        assert_eq!(delays_ms(RetryPolicy::fixed(0, ms(5)), 0.5), []);
        assert_eq!(
            delays_ms(RetryPolicy::linear(4, ms(100)).delay_max(ms(250)), 0.5),
            [100, 200, 250]
        );
        let exponential = RetryPolicy::exponential(5, ms(100)).delay_max(ms(500));
        assert_eq!(delays_ms(exponential, 1.0), [100, 200, 400, 500]);
        assert_eq!(delays_ms(exponential, 0.0), [50, 100, 200, 250]);
    }

    proptest! {
        #[test]
        fn every_delay_is_bounded(
            attempts_max: u32,
            attempts: u32,
            step: Duration,
            max: Duration,
            jitter: f64,
            kind in 0..3,
        ) {
            let policy = match kind {
                0 => RetryPolicy::fixed(attempts_max, step),
                1 => RetryPolicy::linear(attempts_max, step),
                _ => RetryPolicy::exponential(attempts_max, step),
            };
            match policy.delay_max(max).delay_after(attempts, jitter) {
                Some(delay) => {
                    prop_assert!(attempts < attempts_max);
                    prop_assert!(delay <= max);
                }
                None => prop_assert!(attempts >= attempts_max.max(1)),
            }
        }
    }
}
