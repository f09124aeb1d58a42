//! [`Tally`]: images of many workloads, each checked, and what came of them.

use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use samplestore::Database;

use super::bytes::Bytes;
use super::disk::RecordingDisk;
use super::image::{Image, Way, images};
use super::lane::Lane;
use super::random::Random;
use super::record::{Mode, Plan, Recording};
use super::verify::{self, Loss};

/// Images of one workload.
pub(crate) const WORKLOAD_IMAGES: usize = 60;
/// Images of one opening and of what comes after it.
const OPENING_IMAGES: usize = 5;
const OPENING_OPERATIONS: u64 = 4;

/// What came of some images.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) checked: AtomicUsize,
    /// Of these, those with no index of a field, with whole ones alone, and with one of which some rows are there.
    without_index: AtomicUsize,
    with_index: AtomicUsize,
    with_half_an_index: AtomicUsize,
    /// And those that were opened in another mode than they were written in.
    in_another_mode: AtomicUsize,
    pub(crate) lost: Mutex<Vec<Lost>>,
}

/// An image that is not as it must be.
pub(crate) struct Lost {
    pub(crate) loss: Loss,
    seed: u64,
    mode: Mode,
    cut: usize,
    way: Way,
    is_second: bool,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            loss,
            seed,
            mode,
            cut,
            way,
            is_second,
        } = self;
        let second = if *is_second { "second " } else { "" };
        write!(
            f,
            "workload {seed} in {mode:?}, {second}image cut at {cut} by {way:?}: {loss}"
        )
    }
}

/// Checks images of one workload until there are so many.
fn crash(plan: Plan, count: usize, tally: &Tally) {
    let mut random = Random::new(!plan.seed);
    let lanes = (0..plan.mode.lanes()).map(|number| Lane::new(plan.seed, number, 0));
    let recording = plan
        .record(Bytes::default(), lanes.collect())
        .unwrap_or_else(|error| panic!("{plan:?}: {error:?}"));
    // A third of the images are of openings after a crash, and are made of some of the others.
    let firsts = count - count / 3;
    let cuts = (0..firsts).map(|_| {
        let cut = random.below(recording.done.len() as u64 + 1) as usize;
        (cut, random.pick(&Way::ALL))
    });
    let cuts = cuts.collect();
    let mut seconds = count - firsts;
    let every = (firsts * OPENING_IMAGES / seconds.max(1)).max(1);
    let images = images(&recording.start, &recording.done, cuts, &mut random);
    for (number, image) in images.into_iter().enumerate() {
        let Some(lanes) = tally.check(&recording, &image, false) else {
            continue;
        };
        if number % every == 0 && seconds > 0 {
            let count = OPENING_IMAGES.min(seconds);
            seconds -= count;
            crash_again(plan, &image, lanes, count, tally);
        }
    }
}

/// Records what opens an image, and some operations behind that, and checks images of this recording.
fn crash_again(plan: Plan, image: &Image, lanes: Vec<Lane>, count: usize, tally: &Tally) {
    let mut random = Random::new(plan.seed ^ image.cut as u64);
    let plan = Plan {
        mode: opening_mode(plan.mode, plan.seed, image),
        operations: OPENING_OPERATIONS,
        ..plan
    };
    let recording = plan
        .record(image.bytes.clone(), lanes)
        .unwrap_or_else(|error| panic!("{plan:?} behind a crash: {error:?}"));
    let cuts = (0..count).map(|_| {
        // More than half of them while it is opened.
        let end = match random.chance(60) {
            true => recording.opened,
            false => recording.done.len(),
        };
        (
            random.below(end as u64 + 1) as usize,
            random.pick(&Way::ALL),
        )
    });
    let cuts = cuts.collect();
    for image in images(&recording.start, &recording.done, cuts, &mut random) {
        tally.check(&recording, &image, true);
    }
}

impl Tally {
    /// Checks one image, and gives the lanes as it has them.
    fn check(&self, recording: &Recording, image: &Image, is_second: bool) -> Option<Vec<Lane>> {
        self.checked.fetch_add(1, Ordering::Relaxed);
        let checked = catch_unwind(AssertUnwindSafe(|| check(recording, image, self)))
            .unwrap_or_else(|_| Err(Loss::Opening("a panic".to_owned())));
        checked
            .map_err(|loss| {
                self.lost.lock().unwrap().push(Lost {
                    loss,
                    seed: recording.seed,
                    mode: recording.mode,
                    cut: image.cut,
                    way: image.way,
                    is_second,
                });
            })
            .ok()
    }

    /// Checks so many images of workloads in all of these modes, on all processors.
    pub(crate) fn run(&self, count: usize, seed: u64, plan: impl Fn(u64) -> Plan + Sync) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workloads = count.div_ceil(WORKLOAD_IMAGES) as u64;
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= workloads {
                            return;
                        }
                        let before = number as usize * WORKLOAD_IMAGES;
                        let count = WORKLOAD_IMAGES.min(count - before);
                        let plan = plan(number);
                        let seed = Random::new(seed.wrapping_add(number)).next();
                        crash(Plan { seed, ..plan }, count, self);
                    }
                });
            }
        });
    }
}

/// The mode in which an image is opened: of one in three perhaps another one than it was written in.
fn opening_mode(written: Mode, seed: u64, image: &Image) -> Mode {
    let mut random = Random::new(seed ^ ((image.cut as u64) << 8) ^ image.way as u64);
    match random.chance(33) {
        true => written.reopened(&mut random),
        false => written,
    }
}

/// Everything that must hold of an image; gives the lanes as it has them.
fn check(recording: &Recording, image: &Image, tally: &Tally) -> Result<Vec<Lane>, Loss> {
    let disk = RecordingDisk::of(image.bytes.clone(), false);
    let mode = opening_mode(recording.mode, recording.seed, image);
    if !mode.opens_as(recording.mode) {
        tally.in_another_mode.fetch_add(1, Ordering::Relaxed);
    }
    let opened = mode.options().open_on(disk.clone());
    let database: Database = opened.map_err(|error| Loss::Opening(verify::text(&error)))?;
    // And then again as it was written.
    let reopen = || recording.mode.options().open_on(disk.clone());
    let found = verify::state(&database)?;
    let lanes = &recording.lanes;
    let numbers: Vec<u64> = lanes.iter().map(|lane| lane.number).collect();
    let mut indexes = found.indexes.values();
    let count = match indexes.all(|is_whole| *is_whole) {
        true if found.indexes.is_empty() => &tally.without_index,
        true => &tally.with_index,
        false => &tally.with_half_an_index,
    };
    count.fetch_add(1, Ordering::Relaxed);
    let reached = verify::reached(&found, lanes, |lane| lane.steps_at(image.cut))?;
    verify::check(&database, &found, &numbers)?;
    // The check brings everything into the tables, so that what comes behind it is not what comes behind a crash; by
    // turns it is done before and after.
    let is_first = image.cut.is_multiple_of(2);
    if is_first {
        verify::is_sound(&database, found.samples.len())?;
    }
    let (database, samples) = verify::goes_on(database, &found, reopen)?;
    if !is_first {
        verify::is_sound(&database, samples)?;
    }
    let lanes = lanes.iter().zip(reached);
    Ok(lanes
        .map(|(lane, reached)| lane.at(recording.seed, reached, &found))
        .collect())
}

/// A number that the environment has.
pub(crate) fn number_in(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Says something that is seen although the test passes.
fn say(text: &str) {
    std::io::stderr()
        .write_all(format!("{text}\n").as_bytes())
        .unwrap();
}

/// Checks so many images, or as many as the environment says, of workloads in every mode.
pub(crate) fn nothing_is_lost(count: usize, plan: impl Fn(Mode) -> Plan + Sync) {
    let count = number_in("SAMPLESTORE_CRASH_IMAGES").map_or(count, |count| count as usize);
    let seed = number_in("SAMPLESTORE_CRASH_SEED")
        .unwrap_or_else(|| Random::new(u64::from(std::process::id())).next() >> 32);
    let modes = Mode::all();
    let tally = Tally::default();
    tally.run(count, seed, |number| {
        plan(modes[number as usize % modes.len()])
    });
    let checked = tally.checked.into_inner();
    let kinds = [
        &tally.without_index,
        &tally.with_index,
        &tally.with_half_an_index,
    ];
    let [without, whole, half] = kinds.map(|count| count.load(Ordering::Relaxed));
    let other = tally.in_another_mode.into_inner();
    let lost = tally.lost.into_inner().unwrap();
    say(&format!(
        "crash images: {checked} checked, {} lost; {whole} with indexes of fields, {half} with one half made, {without} without, \
         {other} opened in another mode (SAMPLESTORE_CRASH_SEED={seed} repeats it)",
        lost.len()
    ));
    for lost in lost.iter().take(20) {
        say(&lost.to_string());
    }
    assert!(lost.is_empty());
    assert_eq!(checked, count);
    assert!(checked < 1_000 || whole > checked / 10 && without > 0 && other > checked / 10);
}
