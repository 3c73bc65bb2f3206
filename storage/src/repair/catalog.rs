//! Records of the catalog that nothing else knows: sessions and jobs whose bytes are damaged.

use crate::catalog::Tree;
use crate::error::StorageError;
use crate::store::root::Root;

use super::CatalogRepair;
use super::apply::new_folder;

/// Names the damaged records; with `write`, keeps their bytes in a folder of the database and removes them.
pub(crate) fn repair(root: &Root, write: bool) -> Result<CatalogRepair, StorageError> {
    let catalog = root.catalog()?;
    let mut report = CatalogRepair::default();
    let bad = catalog.damaged_records()?;
    for (tree, key, _) in &bad {
        let name = String::from_utf8_lossy(key).into_owned();
        match tree {
            Tree::Sessions => report.lost_sessions.push(name),
            Tree::Jobs => report.lost_jobs.push(name),
            // Restored from files when the database is opened.
            Tree::Collections | Tree::Database => {}
        }
    }
    if !write || report.is_clean() {
        return Ok(report);
    }
    let folder = new_folder(&*root.backend, &root.dir)?;
    for (number, (tree, key, stored)) in bad.into_iter().enumerate() {
        // A file's name has 255 bytes at most, an id may have more in hexadecimal.
        let start = &key[..key.len().min(100)];
        let name = format!("{}-{number}-{}", tree.name(), hex::encode(start));
        crate::backend::write_file(&*root.backend, &folder.join(name), &stored)?;
        catalog.remove(tree, &key)?;
    }
    root.backend.sync_dir(&folder).map_err(|e| StorageError::io(&folder, "sync", e))?;
    root.backend.sync_dir(&root.dir).map_err(|e| StorageError::io(&root.dir, "sync", e))?;
    report.moved_to = Some(folder);
    Ok(report)
}
