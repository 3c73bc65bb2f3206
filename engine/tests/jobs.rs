//! Goal: long work can be stopped anywhere and gone on with, and a sync makes a collection what its source is and no less.
//! Method: pictures of plain colours through the fake model, whose work is counted.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/jobs.rs"]
mod work;

use std::sync::Arc;

use common::{cellar, png};
use fromagerie::{
    Change, Database, IngestEvent, IngestJob, Item, Job, JobSpec, JobState, Options, SourceOptions, Thumbnails,
};
use fromagerie_models::FakeModel;
use fromagerie_storage::{Store, StoreOptions};
use work::{ingest_of, keys, pictures, run};

#[test]
fn features_and_thumbnails_are_kept_as_asked() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let source = pictures(cellar.folder.path(), 3);
    for (thumbnails, magic) in
        [(Thumbnails::Jpeg, &b"\xFF\xD8\xFF"[..]), (Thumbnails::Webp, b"RIFF"), (Thumbnails::None, b"")]
    {
        let name = format!("{thumbnails:?}");
        let job = IngestJob { features: true, thumbnails, ..ingest_of(&name, &[&source]) };
        run(&cellar.db, JobSpec::Ingest(job)).unwrap();
        let item = cellar.db.open_collection(&name).unwrap().require("0001.png").unwrap();
        assert!(item.document.thumbnail.starts_with(magic), "{name}");
        assert_eq!(item.document.thumbnail.is_empty(), magic.is_empty());
        let [r, g, b, _] = 7919u32.to_le_bytes();
        let expected = [r, g, b].map(|byte| f32::from(byte) / 255.0);
        let features = item.features.unwrap();
        assert!(features.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{features:?} {expected:?}");
    }
    let plain = cellar.db.collection("plain").unwrap();
    plain.insert(Item::image("a", png([1, 2, 3]))).unwrap();
    assert_eq!(plain.require("a").unwrap().features, None, "features are kept where that was asked for alone");
}

#[test]
fn pictures_that_look_alike_are_grouped() {
    let (_cellar, colours) = cellar(
        FakeModel::new(),
        &[("a", [250, 0, 0]), ("b", [252, 2, 0]), ("c", [0, 0, 250]), ("d", [1, 0, 250]), ("e", [0, 250, 0])],
    );
    let groups = colours.near_duplicates(0.999, &|| false).unwrap();
    assert_eq!(groups, [["a", "b"], ["c", "d"]]);
    assert!(colours.near_duplicates(1.5, &|| false).is_err());
}

#[test]
fn a_job_is_paused_gone_on_with_and_cancelled() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let (db, source) = (&cellar.db, pictures(cellar.folder.path(), 60));
    std::fs::write(source.join("0007.png"), "no picture").unwrap();
    let started = db.start_job(JobSpec::Ingest(ingest_of("photos", &[&source]))).unwrap();
    let mut paused = db
        .run_job(&started.id, &mut |event| {
            if let IngestEvent::Written { .. } = event {
                db.pause_job(&started.id).unwrap();
            }
        })
        .unwrap();
    assert_eq!(paused.state, JobState::Paused);
    let mut rounds = 0;
    while paused.state == JobState::Paused {
        rounds += 1;
        let before = paused.progress.report.found;
        paused = db
            .run_job(&started.id, &mut |event| {
                if let IngestEvent::Written { .. } = event {
                    db.pause_job(&started.id).unwrap();
                }
            })
            .unwrap();
        let went_on = paused.progress.report.found > before || paused.state == JobState::Succeeded;
        assert!(went_on, "it did not go on from where it was");
    }
    assert!(rounds > 5 && paused.state == JobState::Succeeded);
    let report = paused.progress.report;
    assert_eq!((report.found, report.written, report.failed), (60, 59, 1));
    assert_eq!(cellar.model.counts().images_encoded, 59, "nothing was encoded twice");
    let failures = std::fs::read_to_string(db.job_failures(&started.id).unwrap()).unwrap();
    assert_eq!((failures.lines().count(), failures.contains("0007.png")), (1, true));
    assert_eq!(db.run_job(&started.id, &mut |_| {}).unwrap_err().reason(), "JOB_ENDED");

    let second = db.start_job(JobSpec::Ingest(ingest_of("other", &[&source]))).unwrap();
    assert_eq!(db.cancel_job(&second.id).unwrap().state, JobState::Cancelled);
    assert_eq!(db.run_job(&second.id, &mut |_| {}).unwrap_err().reason(), "JOB_ENDED");
    assert_eq!(db.jobs().unwrap().len(), 2);
    db.delete_job(&second.id).unwrap();
    assert_eq!(db.job(&second.id).unwrap_err().reason(), "UNKNOWN_JOB");
}

#[test]
fn who_only_reads_sees_whether_a_job_still_runs() {
    let (cellar, _) = cellar(FakeModel::default(), &[]);
    let (folder, from) = (cellar.folder.path().to_owned(), tempfile::tempdir().unwrap());
    let source = pictures(from.path(), 3);
    let id = cellar.db.start_job(JobSpec::Ingest(ingest_of("colours", &[&source]))).unwrap().id;
    let reader = Database::open_with(&folder, Options { read_only: true, ..Options::default() }).unwrap();
    let seen = || reader.job(&id).unwrap().state;
    let running = cellar.db.claim_job(&id).unwrap();
    assert_eq!((seen(), reader.jobs().unwrap()[0].state), (JobState::Running, JobState::Running));
    // As when the process ends: nothing is written any more, and the system lets go of what it held.
    drop((running, cellar.db));
    assert_eq!(seen(), JobState::Interrupted);
    let db = Database::open_with_model(&folder, Options::default(), cellar.model).unwrap();
    let running = db.claim_job(&id).unwrap();
    assert_eq!(seen(), JobState::Running);
    assert_eq!(running.run(&mut |_| {}).unwrap().state, JobState::Succeeded);
    assert_eq!(seen(), JobState::Succeeded);
    let left = std::fs::read_dir(folder.join("jobs")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), [format!("{id}.json").as_str()]);
}

#[test]
fn a_job_begins_again_when_its_sources_changed() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let (db, source) = (&cellar.db, pictures(cellar.folder.path(), 40));
    let job = db.start_job(JobSpec::Ingest(ingest_of("photos", &[&source]))).unwrap();
    let stop = |event: IngestEvent<'_>| {
        if let IngestEvent::Written { .. } = event {
            db.pause_job(&job.id).unwrap();
        }
    };
    db.run_job(&job.id, &mut { stop }).unwrap();
    // Before everything else in the order of names: places shift by one.
    std::fs::write(source.join("0000-first.png"), png([9, 9, 9])).unwrap();
    let ended = db.run_job(&job.id, &mut |_| {}).unwrap();
    let photos = db.open_collection("photos").unwrap();
    assert_eq!((ended.progress.report.found, photos.len()), (41, 41));
    assert!(photos.get("0000-first.png").unwrap().is_some());
}

#[test]
fn a_sync_adds_updates_and_removes() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let (db, source) = (&cellar.db, pictures(cellar.folder.path(), 6));
    let sync = || JobSpec::Ingest(IngestJob { sync: true, ..ingest_of("photos", &[&source]) });
    run(db, sync()).unwrap();
    let photos = db.open_collection("photos").unwrap();
    std::fs::remove_file(source.join("0001.png")).unwrap();
    std::fs::write(source.join("0002.png"), png([200, 100, 50])).unwrap();
    std::fs::write(source.join("0003.png"), "for now it cannot be read").unwrap();
    std::fs::write(source.join("0009.png"), png([5, 100, 50])).unwrap();
    let encoded = cellar.model.counts().images_encoded;
    let job = run(db, sync()).unwrap();
    assert_eq!(keys(&photos, 10), ["0000.png", "0002.png", "0003.png", "0004.png", "0005.png", "0009.png"]);
    assert_eq!((job.removed, job.progress.report.written, job.progress.report.failed), (1, 2, 1));
    assert_eq!(cellar.model.counts().images_encoded - encoded, 2);
    let hit = &photos.search(fromagerie::Query::image(png([200, 100, 50])), 1).unwrap()[0];
    assert_eq!(hit.key, "0002.png");

    std::fs::remove_dir_all(&source).unwrap();
    std::fs::create_dir(&source).unwrap();
    let error = run(db, sync()).unwrap_err();
    assert_eq!((error.reason(), photos.len()), ("NO_PICTURES", 6), "an empty folder empties nothing");
}

#[test]
fn words_that_changed_are_brought_back_without_the_model() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let (db, source) = (&cellar.db, pictures(cellar.folder.path(), 3));
    let sync = || JobSpec::Ingest(IngestJob { sync: true, features: true, ..ingest_of("photos", &[&source]) });
    run(db, sync()).unwrap();
    let photos = db.open_collection("photos").unwrap();
    let before = photos.require("0001.png").unwrap();
    assert!(before.features.is_some() && !before.document.thumbnail.is_empty());
    let encoded = cellar.model.counts().images_encoded;
    for change in [
        Change::of("0001.png").caption("other words"),
        Change::of("0001.png").uri("elsewhere.png"),
        Change::of("0001.png").payload("draft", true),
    ] {
        photos.update(change).unwrap();
        let job = run(db, sync()).unwrap();
        assert_eq!((job.progress.report.written, job.progress.report.unchanged), (1, 2));
        assert_eq!(photos.require("0001.png").unwrap(), before);
    }
    assert_eq!(cellar.model.counts().images_encoded, encoded);
}

/// A source that is damaged must not take along what it had.
#[test]
fn a_sync_removes_nothing_while_it_is_not_known_what_there_is() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let (db, file) = (&cellar.db, cellar.folder.path().join("items.jsonl"));
    let row = |n: u32| format!("{{\"key\": \"{n}\", \"vector\": [1, {n}, 2]}}\n");
    let sync = |text: String| {
        std::fs::write(&file, text).unwrap();
        run(db, JobSpec::Ingest(IngestJob { sync: true, ..ingest_of("rows", &[&file]) })).unwrap()
    };
    sync((0..4).map(row).collect());
    let rows = db.open_collection("rows").unwrap();
    let job = sync(row(0) + &row(1)[..9] + "\n" + &row(2));
    assert_eq!((job.removed, job.progress.report.unknown, rows.len()), (0, 1, 4));
    assert!(!job.checks[0].passed && job.checks[0].found.starts_with("nothing was removed: a failure hides"));
    let bad = "{\"key\": \"1\", \"vector\": \"none\"}\n";
    let job = sync(row(0) + bad + &row(2));
    assert_eq!(
        (job.removed, job.progress.report.unknown, rows.len()),
        (1, 0, 3),
        "a record that is known keeps its item"
    );
    assert!(job.checks[0].passed && rows.get("1").unwrap().is_some() && rows.get("3").unwrap().is_none());
    let (source, table) = (pictures(cellar.folder.path(), 3), cellar.folder.path().join("table.csv"));
    run(db, JobSpec::Ingest(ingest_of("pictures", &[&source]))).unwrap();
    std::fs::write(&table, "key,image\n").unwrap();
    let job = IngestJob { sync: true, ..ingest_of("pictures", &[&table]) };
    let job = run(db, JobSpec::Ingest(job)).unwrap();
    let kept = db.open_collection("pictures").unwrap().len();
    assert_eq!((job.removed, kept), (0, 3), "a table without a row takes nothing along");
    assert!(!job.checks[0].passed && job.checks[0].found.contains("no record at all"), "{:?}", job.checks);
}

/// A record of another version, or a damaged one, is told and can be forgotten, and nobody trips over it.
#[test]
fn a_record_that_cannot_be_read_stands_in_nobodys_way() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let source = pictures(cellar.folder.path(), 2);
    let bad = run(&cellar.db, JobSpec::Ingest(ingest_of("a", &[&source]))).unwrap().id;
    let good = run(&cellar.db, JobSpec::Ingest(ingest_of("b", &[&source]))).unwrap().id;
    let (folder, model) = (cellar.folder, cellar.model);
    drop(cellar.db);
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let record = String::from_utf8(store.job(&bad).unwrap().unwrap()).unwrap();
    store.put_job(&bad, record.replace("\"phase\"", "\"stage\"").as_bytes()).unwrap();
    drop(store);
    let db = Database::open_with_model(folder.path(), Options::default(), model).unwrap();
    let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(db.jobs().unwrap()), [good.as_str()]);
    assert!(db.interrupted_jobs().unwrap().is_empty());
    let unreadable = db.unreadable_jobs().unwrap();
    assert!(unreadable.len() == 1 && unreadable[0].1.to_string().contains(&bad), "{unreadable:?}");
    let again = run(&db, JobSpec::Ingest(ingest_of("a", &[&source]))).unwrap();
    assert_eq!(again.progress.report.unchanged, 2);
    db.delete_job(&bad).unwrap();
    assert!(db.unreadable_jobs().unwrap().is_empty() && db.jobs().unwrap().len() == 2);
    // What another version did not count yet is nothing.
    let report: fromagerie::IngestReport = serde_json::from_str(r#"{"found": 3, "seconds": 1.5}"#).unwrap();
    assert_eq!((report.found, report.unknown), (3, 0));
}

/// A link that leads nowhere is a picture that cannot be read when it has the name of one; else it may be a folder that is not
/// mounted, and a sync must not empty what came from there.
#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_are_failures_and_take_nothing_along() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let source = pictures(cellar.folder.path(), 3);
    for (to, name) in [("nowhere", "gone.png"), (".", "loop"), ("self.png", "self.png")] {
        std::os::unix::fs::symlink(to, source.join(name)).unwrap();
    }
    let report = run(&cellar.db, JobSpec::Ingest(ingest_of("a", &[&source]))).unwrap().progress.report;
    assert_eq!((report.found, report.written, report.failed), (5, 3, 2));
    assert_eq!(fromagerie::folder_pictures(&source).unwrap().len(), 5);
    std::os::unix::fs::symlink("nowhere", source.join("unmounted")).unwrap();
    let error = run(&cellar.db, JobSpec::Ingest(IngestJob { sync: true, ..ingest_of("a", &[&source]) })).unwrap_err();
    assert!(error.to_string().contains("a link that leads nowhere"), "{error}");
    assert_eq!(cellar.db.open_collection("a").unwrap().len(), 3);
}

/// What a sync has met decides what it removes, so damage there must not pass for a key that was not met.
#[test]
fn a_sync_whose_notes_are_damaged_begins_again_and_removes_nothing() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let (db, source) = (&cellar.db, pictures(cellar.folder.path(), 40));
    let sync = IngestJob { sync: true, ..ingest_of("photos", &[&source]) };
    let started = db.start_job(JobSpec::Ingest(sync)).unwrap();
    let pause = &mut |event: IngestEvent<'_>| {
        if let IngestEvent::Written { .. } = event {
            db.pause_job(&started.id).unwrap();
        }
    };
    assert_eq!(db.run_job(&started.id, pause).unwrap().state, JobState::Paused);
    let notes = db.directory().join("jobs").join(format!("{}.seen", started.id));
    let mut bytes = std::fs::read(&notes).unwrap();
    bytes[3] ^= 0x10;
    std::fs::write(&notes, bytes).unwrap();
    let ended = db.run_job(&started.id, &mut |_| {}).unwrap();
    assert_eq!((ended.state, ended.removed, ended.progress.report.found), (JobState::Succeeded, 0, 40));
    assert_eq!(keys(&db.open_collection("photos").unwrap(), 40).len(), 40);
}

#[test]
fn a_changed_part_of_a_folder_is_read_alone() {
    let (cellar, colours) = cellar(FakeModel::new(), &[]);
    let source = pictures(cellar.folder.path(), 20);
    let only = Some(Arc::new(["0003.png".to_owned(), "0005.png".to_owned()].into_iter().collect()));
    let options = fromagerie::IngestOptions {
        source: SourceOptions { only, ..SourceOptions::default() },
        ..fromagerie::IngestOptions::default()
    };
    let report = colours.ingest(&[source], &options, &|| false, &mut |_| {}).unwrap();
    assert_eq!((report.found, keys(&colours, 20)), (2, vec!["0003.png".to_owned(), "0005.png".to_owned()]));
}
