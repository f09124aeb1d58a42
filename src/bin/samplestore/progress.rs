//! Progress on stderr, for people: nothing of it is written unless stderr is a terminal, nor when it is to be quiet.

use std::io::{IsTerminal, Read};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};

use crate::failure::{Volume, is_told};
use crate::interrupt;

/// How often a second the bar is drawn.
const DRAWS_PER_S: u8 = 10;
/// How often what has no length moves while nothing is told of it.
const TICK: Duration = Duration::from_millis(100);
/// Steps of a bar that is about a fraction.
const STEPS: u64 = 1_000;
/// A bar over samples.
const SAMPLES_OF_ALL: &str =
    "{wide_bar} {percent:>3} %  {human_pos}/{human_len} samples  {eta} left";

/// What may be seen now.
static SHOWN: Mutex<Vec<WeakProgressBar>> = Mutex::new(Vec::new());

/// How far an import is.
pub(crate) struct ImportProgress(ProgressBar);

impl ImportProgress {
    /// A bar over this many bytes of input, or only their count when it is not known.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        let (bar, template) = match bytes {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{wide_bar} {percent:>3} %  {bytes}/{total_bytes}  {msg}  {eta} left",
            ),
            None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg}"),
        };
        Self(drawn(bar, template))
    }

    /// Counts what is read through it.
    pub(crate) fn wrap<R: Read>(&self, reader: R) -> impl Read + use<R> {
        self.0.wrap_read(reader)
    }

    /// Shows how many records are done.
    pub(crate) fn records(&self, count: u64) {
        let count = indicatif::HumanCount(count);
        self.0.set_message(format!("{count} records"));
    }

    /// Lets go of the line, so that words can be written.
    pub(crate) fn suspend(&self, words: impl FnOnce()) {
        self.0.suspend(words);
    }
}

impl Drop for ImportProgress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Whether anybody sees how far something is.
pub(crate) fn is_shown() -> bool {
    std::io::stderr().is_terminal() && is_told(Volume::Normal)
}

/// How many samples are done.
#[derive(Clone)]
pub(crate) struct SampleProgress(ProgressBar);

impl SampleProgress {
    /// A bar over this many samples, or only their count when it is not known.
    pub(crate) fn new(samples: Option<u64>) -> Self {
        let bar = ProgressBar::no_length();
        let progress = Self(drawn(bar, "{spinner} {human_pos} samples"));
        progress.set_total(samples);
        progress
    }

    /// None, where it would be in the way of what is written.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Goes on to a bar over this many samples, where that is known by now.
    pub(crate) fn set_total(&self, samples: Option<u64>) {
        if let Some(samples) = samples {
            set_template(&self.0, SAMPLES_OF_ALL);
            self.0.set_length(samples);
        }
    }

    /// Shows how many samples are done; when everything is compared in the end, they begin anew.
    pub(crate) fn samples(&self, count: u64) {
        self.0.set_position(count);
    }

    /// Lets go of the line.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// How many samples match so far, in a search that may go on for long until the next one does.
pub(crate) struct Seeking(ProgressBar);

impl Seeking {
    /// A count that moves while nothing is found.
    pub(crate) fn new() -> Self {
        Self(moving(
            ProgressBar::no_length(),
            "{spinner} {human_pos} samples match",
        ))
    }

    /// Shows how many were found.
    pub(crate) fn found(&self, count: u64) {
        self.0.set_position(count);
    }
}

impl Drop for Seeking {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// That something goes on of which nobody tells how far it is.
pub(crate) struct Busy(ProgressBar);

impl Busy {
    /// A word that says what is done, and for how long.
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::no_length().with_message(what);
        Self(moving(bar, "{spinner} {msg}  {elapsed}"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How far something is of which only the fraction is known.
pub(crate) struct FractionProgress(ProgressBar);

impl FractionProgress {
    /// A bar behind a word that says what is done.
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new(STEPS).with_message(what);
        Self(drawn(bar, "{msg} {wide_bar} {percent:>3} %"))
    }

    /// Shows a fraction from 0 to 1, and says whether the work goes on: until Ctrl-C is pressed, if that is watched for.
    pub(crate) fn set(&self, fraction: f64) -> ControlFlow<()> {
        self.0
            .set_position((fraction.clamp(0.0, 1.0) * STEPS as f64) as u64);
        interrupt::answer()
    }
}

impl Drop for FractionProgress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Lets go of all lines for good: what is written now may be on the same terminal.
pub(crate) fn clear() {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    for bar in shown.drain(..).filter_map(|bar| bar.upgrade()) {
        bar.finish_and_clear();
    }
}

fn drawn(bar: ProgressBar, template: &str) -> ProgressBar {
    let is_shown = is_shown();
    bar.set_draw_target(match is_shown {
        true => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S),
        false => ProgressDrawTarget::hidden(),
    });
    set_template(&bar, template);
    if is_shown {
        let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|bar| bar.upgrade().is_some());
        shown.push(bar.downgrade());
    }
    bar
}

/// The same of what moves while nothing is told of it.
fn moving(bar: ProgressBar, template: &str) -> ProgressBar {
    let bar = drawn(bar, template);
    if is_shown() {
        bar.tick();
        bar.enable_steady_tick(TICK);
    }
    bar
}

fn set_template(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// A time as people read it, and what was done in each second of it.
pub(crate) fn pace(count: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = (count as f64 / seconds.max(1e-6)) as u64;
    format!("in {seconds:.2} s ({}/s)", indicatif::HumanCount(rate))
}
