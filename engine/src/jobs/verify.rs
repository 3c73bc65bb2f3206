//! What a new generation must show before its alias moves: counts, checksums, recall, and vectors made again.

use std::path::PathBuf;

use fromagerie_storage::VectorType;

use super::record::Check;
use super::runner::Running;
use super::spec::ReindexJob;
use crate::collection::Collection;
use crate::encoder::content_hash;
use crate::error::{Error, Result};
use crate::ingest::record_at;
use crate::item::Document;
use crate::query::Query;

/// Items whose search is compared with exact search.
const QUERIES: usize = 100;
/// Hits that are compared.
const HITS: usize = 10;
/// Pictures that are encoded again.
const ENCODED_AGAIN: usize = 16;
/// How far a vector that is made again may be from what is stored, in any value.
const TOLERANCE: f32 = 1e-4;
/// The same where halves are stored.
const HALF_TOLERANCE: f32 = 1e-3;

/// A key, what is stored under it, and the picture's bytes.
type Again = (String, Vec<f32>, Vec<u8>);

impl Running<'_> {
    pub(super) fn verify(&self, new: &Collection, job: &ReindexJob) -> Result<Vec<Check>> {
        let checks: [&dyn Fn() -> Result<Check>; 4] =
            [&|| Ok(self.counts(new, job)), &|| self.checksums(new), &|| self.recall(new, job), &|| {
                self.encoding(new, job)
            }];
        let check = |check: &&dyn Fn() -> Result<Check>| match self.is_asked_to_stop() {
            true => Err(Error::Cancelled),
            false => check(),
        };
        checks.iter().map(check).collect()
    }

    /// Every record is in, but those that may be left out.
    fn counts(&self, new: &Collection, job: &ReindexJob) -> Check {
        let report = self.active.record.lock().report;
        let expected = report.written + report.unchanged;
        let (items, failed) = (new.len(), report.failed as u64);
        let mut found = format!("{items} items of {expected}, {failed} left out (at most {} may be)", job.failures_max);
        if report.unknown > 0 {
            found += &format!("; {} of those hide which records there are", report.unknown);
        }
        let enough = failed <= job.failures_max && report.unknown == 0;
        Check::new("counts", items == expected && items > 0 && enough, found)
    }

    fn checksums(&self, new: &Collection) -> Result<Check> {
        let report = self.db.verify_collection(new.name(), &mut |_| {})?;
        let (files, damages, unfit) = (report.read.files, report.read.damages.len(), report.unfit.len());
        let found = format!("{files} files read, {damages} damaged places, {unfit} parts that cannot be used");
        Ok(Check::new("checksums", report.is_clean(), found))
    }

    fn recall(&self, new: &Collection, job: &ReindexJob) -> Result<Check> {
        let (mut hits, mut found) = (0, 0);
        for (_, vector, _) in sample(new, QUERIES)? {
            let exact = new.search(Query::vector(vector.clone()).exact(), HITS)?;
            let walked = new.search(Query::vector(vector), HITS)?;
            hits += exact.len();
            // Of items that are equally near, any will do.
            let worst = exact.last().map_or(0.0, |hit| hit.score);
            found += walked.iter().filter(|hit| hit.score >= worst - 1e-6).count().min(exact.len());
        }
        let recall = found as f32 / hits.max(1) as f32;
        let what = format!("recall@{HITS} {recall:.4} of {QUERIES} items at most (at least {} wanted)", job.recall_min);
        Ok(Check::new("recall", recall >= job.recall_min, what))
    }

    /// Pictures that can be read again give the vectors that are stored.
    fn encoding(&self, new: &Collection, job: &ReindexJob) -> Result<Check> {
        if new.space().is_none() {
            return Ok(Check::new("encoding", true, "vectors of no known model".to_owned()));
        }
        let mut again: Vec<Again> = Vec::new();
        for (key, vector, document) in sample(new, ENCODED_AGAIN)? {
            let Some(hash) = document.content_hash else { continue };
            let bytes = std::fs::read(PathBuf::from(&document.uri)).ok();
            again.extend(bytes.filter(|bytes| content_hash(bytes) == hash).map(|bytes| (key, vector, bytes)));
        }
        if again.is_empty() {
            again = self.read_again(new, job)?;
        }
        let tolerance = if new.vector_type() == VectorType::F16 { HALF_TOLERANCE } else { TOLERANCE };
        let (mut worst, mut at) = (0f32, String::new());
        for (key, vector, bytes) in &again {
            let made = new.model("an image")?.embed_image(bytes)?;
            let apart = made.iter().zip(vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            if apart >= worst {
                (worst, at) = (apart, key.clone());
            }
        }
        let found = format!("{} pictures encoded again, {worst:.1e} apart at most ({at:?})", again.len());
        Ok(Check::new("encoding", worst <= tolerance, found))
    }

    /// Pictures from the places that were kept while the sources were read.
    fn read_again(&self, new: &Collection, job: &ReindexJob) -> Result<Vec<Again>> {
        let samples = self.active.record.lock().samples.clone();
        let mut again = Vec::new();
        for at in samples {
            let Some((key, bytes)) = record_at(&job.input.sources, &job.input.source, at)? else { continue };
            let stored = new.get(&key)?;
            let hash = Some(content_hash(&bytes));
            again
                .extend(stored.filter(|item| item.document.content_hash == hash).map(|item| (key, item.vector, bytes)));
        }
        Ok(again)
    }
}

/// Items from all over the collection.
fn sample(collection: &Collection, count: usize) -> Result<Vec<(String, Vec<f32>, Document)>> {
    let snapshot = collection.stored().snapshot();
    let step = snapshot.len().div_ceil(count).max(1);
    let (mut taken, mut number) = (Vec::with_capacity(count), 0);
    for view in snapshot.segments() {
        for row in (0..view.rows()).filter(|row| view.is_live(*row)) {
            if number % step == 0 {
                let document = Document::read(view.document(row)?)?;
                taken.push((view.key(row)?.to_owned(), view.vector(row)?.to_f32().into_owned(), document));
            }
            number += 1;
        }
    }
    Ok(taken)
}
