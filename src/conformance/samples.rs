//! M1–M8: whatever makes up a sample comes back as it was stored.

use chrono::{DateTime, Days, Utc};

use super::case::{
    Case, Failure, Need, Trial, Verdict, case, ensure, ensure_eq, refused, same_samples,
};
use super::make::{Random, at, every_class, sample, sample_of_bytes};
use crate::data;
use crate::error::ErrorKind;
use crate::query::Query;
use crate::sample::{ID_BYTES_MAX, PIPELINE_BYTES_MAX, Reason, Sample, Status};
use crate::value::Value;

use Need::{Limit, Query as Queries, Retrieve};

pub(super) const CASES: &[Case] = &[
    case(
        "M1",
        "ids of 1 to 512 bytes come back, each its own",
        &[Retrieve],
        ids,
    ),
    case(
        "M1",
        "ids that were not given are unlike, and grow",
        &[Queries],
        made_ids,
    ),
    case(
        "M2",
        "pipelines of 1 to 255 bytes come back, each its own",
        &[Retrieve],
        pipelines,
    ),
    case(
        "M3",
        "each of the six statuses comes back as it was",
        &[Retrieve],
        statuses,
    ),
    case(
        "M4",
        "instants come back to the microsecond, before 1970 too",
        &[Retrieve],
        instants,
    ),
    case(
        "M4",
        "instants are ordered over their whole range",
        &[Queries],
        instants_in_order,
    ),
    case(
        "M5",
        "values of every class come back equal",
        &[Retrieve],
        values,
    ),
    case(
        "M5",
        "values of every class come back in queries",
        &[Queries],
        values_listed,
    ),
    case(
        "M6",
        "reasons come back, and so does their absence",
        &[Retrieve],
        reasons,
    ),
    case(
        "M7",
        "what comes back has the JSON text that was stored",
        &[Retrieve],
        json_text,
    ),
    case(
        "M8",
        "a sample of the largest size is kept",
        &[Limit, Retrieve],
        largest,
    ),
    case(
        "M8",
        "a sample larger by one byte is refused",
        &[Limit],
        too_large,
    ),
];

/// Stores the samples in one batch and looks for each of them by its id.
fn come_back(trial: &Trial<'_>, samples: &[Sample]) -> Verdict {
    let storage = trial.open_with(samples)?;
    for expected in samples {
        let found = storage.retrieve(expected.id())?;
        let found = found.ok_or_else(|| Failure::new(format!("{:?} is lost", expected.id())))?;
        same_samples(
            &[found],
            std::slice::from_ref(expected),
            "stored and retrieved",
        )?;
    }
    Ok(())
}

/// Texts that are easily taken for one another, or for something else than text.
const ODD_TEXTS: [&str; 20] = [
    "a",
    "A",
    "a ",
    " a",
    "a\0",
    "\0",
    "\0\0",
    " ",
    "\n",
    "é",
    "e\u{301}",
    "\u{10ffff}",
    "../a",
    "/",
    "a/b",
    ".",
    "%61",
    "'; drop table samples; --",
    "null",
    "_id",
];

fn ids(trial: &Trial<'_>) -> Verdict {
    let mut ids: Vec<_> = ODD_TEXTS.map(str::to_owned).to_vec();
    ids.push("i".repeat(ID_BYTES_MAX));
    ids.push(format!("{}j", "i".repeat(ID_BYTES_MAX - 1)));
    ids.push("\u{10348}".repeat(ID_BYTES_MAX / 4));
    let samples: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| Ok(sample(id).data(data! { "n" => n as u64 }).build()?))
        .collect::<Verdict<_>>()?;
    come_back(trial, &samples)
}

fn made_ids(trial: &Trial<'_>) -> Verdict {
    let made: Vec<_> = (0..20)
        .map(|_| Ok(Sample::builder("JFK").created_at(at(0)).build()?))
        .collect::<Verdict<_>>()?;
    let storage = trial.open_with(&made)?;
    same_samples(
        &storage.list(&Query::new())?.samples,
        &made,
        "stored one after the other",
    )?;
    let sorted = made.windows(2).all(|pair| pair[0].id() < pair[1].id());
    ensure!(sorted, "ids that were made later do not sort later");
    Ok(())
}

fn pipelines(trial: &Trial<'_>) -> Verdict {
    let mut pipelines: Vec<_> = ODD_TEXTS.map(str::to_owned).to_vec();
    pipelines.push("p".repeat(PIPELINE_BYTES_MAX));
    pipelines.push(format!("{}q", "p".repeat(PIPELINE_BYTES_MAX - 1)));
    let samples: Vec<_> = pipelines
        .iter()
        .enumerate()
        .map(|(n, pipeline)| Ok(sample(&n.to_string()).pipeline(pipeline).build()?))
        .collect::<Verdict<_>>()?;
    come_back(trial, &samples)?;
    if trial.capabilities.query {
        let storage = trial.open_with(&samples)?;
        for sample in &samples {
            let found = storage
                .list(&Query::new().pipeline(sample.pipeline()))?
                .samples;
            let what = format!("the pipeline {:?}", sample.pipeline());
            same_samples(&found, std::slice::from_ref(sample), &what)?;
        }
    }
    Ok(())
}

fn statuses(trial: &Trial<'_>) -> Verdict {
    let samples: Vec<_> = Status::ALL
        .iter()
        .map(|status| Ok(sample(status.as_str()).status(*status).build()?))
        .collect::<Verdict<_>>()?;
    come_back(trial, &samples)
}

/// Instants in order: the ends of what can be said, both sides of 1970, and now.
fn edge_instants() -> Vec<DateTime<Utc>> {
    let year_one = DateTime::from_timestamp(-62_135_596_800, 0).unwrap_or_default();
    let micros = |micros| DateTime::from_timestamp_micros(micros).unwrap_or_default();
    vec![
        DateTime::<Utc>::MIN_UTC,
        year_one,
        micros(-1_000_001),
        micros(-1_000_000),
        micros(-1),
        micros(0),
        micros(1),
        at(-1),
        at(123_456),
        at(123_457),
        year_one
            .checked_add_days(Days::new(3_652_058))
            .unwrap_or_default(), // in the year 9999
        DateTime::<Utc>::MAX_UTC,
    ]
}

fn samples_of_instants() -> Verdict<Vec<Sample>> {
    edge_instants()
        .into_iter()
        .enumerate()
        .map(|(n, instant)| {
            let sample = sample(&n.to_string())
                .created_at(instant)
                .measured_at(instant);
            let reason = Reason::new("clock", "", 1, instant);
            Ok(sample.reason(reason).build()?)
        })
        .collect()
}

fn instants(trial: &Trial<'_>) -> Verdict {
    come_back(trial, &samples_of_instants()?)?;
    come_back(trial, &[sample("not measured").build()?])
}

fn instants_in_order(trial: &Trial<'_>) -> Verdict {
    let mut samples = samples_of_instants()?;
    samples.reverse();
    let storage = trial.open_with(&samples)?;
    let found = storage.list(&Query::new().newest_first())?.samples;
    same_samples(&found, &samples, "newest first")?;
    samples.reverse();
    same_samples(
        &storage.list(&Query::new())?.samples,
        &samples,
        "oldest first",
    )?;
    for (n, sample) in samples.iter().enumerate() {
        let query = Query::new().since(sample.created_at());
        let what = format!("since {}", sample.created_at());
        same_samples(&storage.list(&query)?.samples, &samples[n..], &what)?;
    }
    Ok(())
}

/// One sample for each value of every class, one with them all, and some at random.
fn samples_of_values(seed: u64) -> Verdict<Vec<Sample>> {
    let classes = every_class();
    let mut samples = vec![
        sample("empty").build()?,
        sample("all as data").data(&classes).build()?,
        sample("all as measurements")
            .measurements(&classes)
            .build()?,
    ];
    for (n, (key, value)) in classes.into_iter().enumerate() {
        let alone = sample(&format!("class {n}")).data(data! { key => value });
        samples.push(alone.build()?);
    }
    let mut random = Random::new(seed);
    for n in 0..60 {
        let random = random.sample()?.into_builder();
        samples.push(random.id(format!("random {n}")).build()?);
    }
    Ok(samples)
}

fn values(trial: &Trial<'_>) -> Verdict {
    let samples = samples_of_values(trial.seed)?;
    come_back(trial, &samples)?;
    // `==` goes by value; the sign of zero, and that NaN is one, are looked at once more by themselves.
    let floats = data! { "zero" => -0.0, "nan" => f64::NAN };
    let storage = trial.open_with(&[sample("floats").data(floats).build()?])?;
    let found = storage
        .retrieve("floats")?
        .ok_or_else(|| Failure::new("the sample is lost"))?;
    let float = |name| Ok::<_, Failure>(found.data().get(name)?.and_then(|value| value.as_f64()));
    let zero = float("zero")?;
    ensure!(
        zero.is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()),
        "-0.0 came back as {zero:?}"
    );
    let nan = float("nan")?;
    ensure!(nan.is_some_and(f64::is_nan), "NaN came back as {nan:?}");
    Ok(())
}

fn values_listed(trial: &Trial<'_>) -> Verdict {
    let samples = samples_of_values(trial.seed)?;
    let samples: Vec<_> = samples
        .into_iter()
        .map(|sample| Ok(sample.into_builder().created_at(at(0)).build()?))
        .collect::<Verdict<_>>()?;
    let storage = trial.open_with(&samples)?;
    same_samples(&storage.list(&Query::new())?.samples, &samples, "listed")?;
    let streamed: Vec<_> = storage.iterate(&Query::new())?.collect::<Result<_, _>>()?;
    same_samples(&streamed, &samples, "iterated")
}

fn reasons(trial: &Trial<'_>) -> Verdict {
    let long = "no such column ".repeat(1_000);
    let reasons = [
        Some(Reason::new("parse", "no digits in \"71,6\"", 3, at(5))),
        Some(Reason::new("", "", 0, at(-1))),
        Some(Reason::new("a\0b", long, u32::MAX, at(0))),
        None,
    ];
    let samples: Vec<_> = reasons
        .into_iter()
        .zip([Status::Dlq, Status::Skipped, Status::Ready, Status::Dlq])
        .enumerate()
        .map(|(n, (reason, status))| {
            let sample = sample(&n.to_string()).status(status).build()?;
            Ok(sample.with_reason(reason))
        })
        .collect::<Verdict<_>>()?;
    come_back(trial, &samples)
}

fn json_text(trial: &Trial<'_>) -> Verdict {
    let samples = samples_of_values(trial.seed)?;
    let storage = trial.open_with(&samples)?;
    for stored in &samples {
        let found = storage.retrieve(stored.id())?;
        let found = found.ok_or_else(|| Failure::new(format!("{:?} is lost", stored.id())))?;
        let text = found.to_json_text()?;
        ensure_eq!(
            text,
            stored.to_json_text()?,
            "the JSON text of {:?}",
            stored.id()
        );
        let read = Sample::from_json_text(&text)?;
        same_samples(&[read], std::slice::from_ref(stored), "read from JSON text")?;
    }
    // A plain JSON tool must be able to read it: bytes are what Extended JSON makes of them.
    let text = sample("a")
        .data(data! { "b" => Value::from(&[0, 1, 2][..]) })
        .build()?
        .to_json_text()?;
    ensure!(
        text.contains(r#"{"$binary":{"base64":"AAEC","subType":"00"}}"#),
        "bytes are not written as MongoDB Extended JSON v2: {text}"
    );
    Ok(())
}

fn largest(trial: &Trial<'_>) -> Verdict {
    let max = trial.capabilities.sample_bytes_max;
    let sample = sample_of_bytes("largest", max)?;
    ensure_eq!(
        sample.encoded_len(),
        max,
        "size of the sample that was made"
    );
    let storage = trial.open_with(std::slice::from_ref(&sample))?;
    let found = storage.retrieve("largest")?;
    ensure!(
        found.as_ref() == Some(&sample),
        "it came back changed, or not at all"
    );
    Ok(())
}

fn too_large(trial: &Trial<'_>) -> Verdict {
    let max = trial.capabilities.sample_bytes_max;
    let sample = sample_of_bytes("too large", max + 1)?;
    let storage = trial.open()?;
    refused(
        storage.store(&[sample]),
        ErrorKind::InvalidSample,
        "one byte too many",
    )?;
    Ok(())
}
