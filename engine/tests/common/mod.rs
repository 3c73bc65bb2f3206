//! A database over the fake model, with pictures of plain colours.

#![allow(dead_code, clippy::unwrap_used)]

use std::io::Cursor;
use std::sync::Arc;

use fromagerie::dialogue::{ChatOptions, ChatSummary, Event, Part};
use fromagerie::{Collection, Database, Item, Options, Result};
use fromagerie_models::FakeModel;
use tempfile::TempDir;

/// A database in a folder that goes when this does.
pub struct Cellar {
    /// The database.
    pub db: Database,
    /// Its model, which counts its work.
    pub model: Arc<FakeModel>,
    /// Its folder.
    pub folder: TempDir,
}

/// A database with a collection "colours" that holds `pictures` (name, colour).
pub fn cellar(model: FakeModel, pictures: &[(&str, [u8; 3])]) -> (Cellar, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(model);
    let db = Database::open_with_model(folder.path(), Options::default(), model.clone()).unwrap();
    let collection = db.collection("colours").unwrap();
    let items = pictures.iter().map(|(name, colour)| Item::image(*name, png(*colour)).caption(*name));
    collection.insert_many(items.collect(), None).unwrap();
    (Cellar { db, model, folder }, collection)
}

/// Three reds of falling purity, and a blue.
pub const REDS: [(&str, [u8; 3]); 4] =
    [("red-1", [255, 0, 0]), ("red-2", [240, 20, 20]), ("red-3", [220, 40, 40]), ("blue", [0, 0, 255])];

/// A picture of one colour.
pub fn png(colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(16, 16, image::Rgb(colour)).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

impl Cellar {
    /// A turn of words with default options.
    pub fn say(&self, session: &str, words: &str) -> Result<ChatSummary> {
        self.chat(session, vec![Part::Text(words.to_owned())], &ChatOptions::default())
    }

    /// A turn.
    pub fn chat(&self, session: &str, parts: Vec<Part>, options: &ChatOptions) -> Result<ChatSummary> {
        self.db.chat(session, parts, options, &|| false, &mut |_: Event<'_>| Ok(()))
    }
}
