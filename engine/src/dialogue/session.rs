//! A conversation over one collection: what was said, what was shown, and the keys and values of both.
//!
//! What was said is stored and survives the process; keys and values are held in bounded memory, the least recently
//! used conversation giving up its own first, and are computed again when they are needed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fromagerie_models::QueryContext;

use super::record::{SessionInfo, SessionRecord};
use super::reply::{Event, Exchange, Prompt, Reply, Retrieved, Retriever, Speaker};
use super::window::window;
use super::{ChatOptions, Part, Role, Turn};
use crate::collection::Collection;
use crate::database::Database;
use crate::encoder::EncodedImage;
use crate::error::{Error, Result};
use crate::model::LoadedModel;
use crate::name::check_name;
use crate::query::{Hit, LIMIT_MAX, Query, Spread};

/// What a finished turn of the chat was like.
#[derive(Clone, Debug)]
pub struct ChatSummary {
    /// The reply's words.
    pub text: String,
    /// Keys of the pictures shown.
    pub shown: Vec<String>,
    /// Why the reply ended, and what it cost.
    pub reply: Reply,
    /// Oldest turns that no longer fit the context.
    pub forgotten_turns: usize,
    /// Milliseconds to the first token of the reply.
    pub first_token_ms: f32,
    /// Milliseconds to the first picture, if there was one.
    pub first_image_ms: Option<f32>,
    /// Milliseconds in all.
    pub total_ms: f32,
}

impl Database {
    /// Begins a conversation over `collection`; without a `name`, one is made up.
    pub fn create_session(&self, collection: &str, name: Option<&str>) -> Result<SessionInfo> {
        let collection = self.open_collection(collection)?;
        let name = match name {
            Some(name) => {
                check_name("session", name)?;
                name.to_owned()
            }
            None => self.unused_session_name()?,
        };
        let _claim = self.contexts().claim(&name)?;
        if self.store().session(&name)?.is_some() {
            return Err(Error::SessionExists { name });
        }
        let record = SessionRecord::new(collection.name(), now());
        self.store().put_session(&name, &record.to_bytes())?;
        Ok(record.info(&name))
    }

    /// A stored conversation.
    pub fn session(&self, name: &str) -> Result<SessionInfo> {
        Ok(self.session_record(name)?.info(name))
    }

    /// The names of all stored conversations, sorted.
    pub fn sessions(&self) -> Result<Vec<String>> {
        let mut names = self.store().sessions()?;
        names.sort();
        Ok(names)
    }

    /// Forgets a conversation.
    pub fn delete_session(&self, name: &str) -> Result<()> {
        let _claim = self.contexts().claim(name)?;
        self.session_record(name)?;
        self.store().delete_session(name)?;
        self.contexts().forget(name);
        Ok(())
    }

    /// One turn: the user says `parts`, the model answers, `on_event` is told of each step as it happens.
    ///
    /// The session holds the turn once this returns; nothing of it when this fails.
    ///
    /// # Errors
    /// [`Error::UnknownSession`], [`Error::SessionBusy`], [`Error::PromptTooLong`], [`Error::Cancelled`], and
    /// whatever the pictures, the model or the collection say.
    pub fn chat(
        &self,
        session: &str,
        parts: Vec<Part>,
        options: &ChatOptions,
        cancelled: &dyn Fn() -> bool,
        on_event: &mut dyn FnMut(Event<'_>) -> Result<()>,
    ) -> Result<ChatSummary> {
        let begun = Instant::now();
        let _claim = self.contexts().claim(session)?;
        let mut record = self.session_record(session)?;
        let collection = self.open_collection(&record.collection)?;
        let loaded = collection.model("a dialogue")?;
        loaded.check_speaks("a dialogue")?;
        let reply_options = options.resolve(loaded.model.generation())?;
        let turn = Turn { role: Role::User, parts };
        if turn.is_empty() {
            return Err(Error::EmptyQuery { problem: "the user's turn has neither words nor pictures" });
        }

        let first_own = record.images.len();
        let user = loaded.turn_atoms(&turn, &mut record.images, &|key| collection.image_by_key(&loaded, key))?;
        record.push_user(&turn, user);
        let (prompt, forgotten_turns) = prompt_of(&loaded, &record, first_own, reply_options.tokens_max)?;

        let mut live = self.contexts().take(session).map_or_else(|| loaded.opened_context(), Ok)?;
        let mut watch = Watch::new(begun);
        let seen = record.images.iter().map(|image| image.hash).collect();
        let (shown, spread) = (record.shown(), options.spread);
        let unlike = match spread.near_duplicates {
            Some(_) => record.images.iter().map(|image| image.encoding.retrieval.clone()).collect(),
            None => Vec::new(),
        };
        let mut shelf = Shelf { collection: &collection, loaded: &loaded, shown, seen, unlike, spread, cancelled };
        let speaker = Speaker {
            model: loaded.model.as_ref(),
            live: &mut live,
            images: &mut record.images,
            retriever: &mut shelf,
            cancelled,
            on_event: &mut |event| {
                watch.see(&event);
                on_event(event)
            },
        };
        let reply = speaker.reply(prompt, &reply_options)?;
        record.push_reply(loaded.template.assistant_turn(&reply.atoms), &watch.parts);
        self.store().put_session(session, &record.to_bytes())?;
        self.contexts().keep(session, live);
        Ok(watch.summary(reply, forgotten_turns))
    }

    fn session_record(&self, name: &str) -> Result<SessionRecord> {
        check_name("session", name)?;
        let bytes = self.store().session(name)?.ok_or_else(|| Error::UnknownSession { name: name.to_owned() })?;
        SessionRecord::from_bytes(name, &bytes)
    }

    fn unused_session_name(&self) -> Result<String> {
        let taken: HashSet<String> = self.store().sessions()?.into_iter().collect();
        let mut number = taken.len() + 1;
        while taken.contains(&format!("session-{number}")) {
            number += 1;
        }
        Ok(format!("session-{number}"))
    }
}

/// What the model reads, and how many turns it no longer does.
fn prompt_of(
    loaded: &LoadedModel,
    record: &SessionRecord,
    first_own: usize,
    tokens_max: usize,
) -> Result<(Prompt, usize)> {
    let context = loaded.model.manifest().language_model.max_position_embeddings as usize;
    let limit = context.saturating_sub(tokens_max);
    let turns: Vec<_> = record.turn_atoms().collect();
    let fitting = window(&loaded.template, &turns, limit).map_err(|tokens| Error::PromptTooLong { tokens, limit })?;
    let query_extra = loaded.extra_of(&record.images[first_own..]);
    let exchange = match loaded.model.manifest().dialogue.query_context {
        QueryContext::Exchange if turns.len() > 1 => {
            let last = window(&loaded.template, &turns[turns.len() - 1..], limit);
            let atoms = last.map_err(|tokens| Error::PromptTooLong { tokens, limit })?.atoms;
            Some(Exchange { atoms, live: loaded.opened_context()? })
        }
        _ => None,
    };
    Ok((Prompt { atoms: fitting.atoms, exchange, query_extra }, fitting.forgotten))
}

/// Where a chat's pictures come from: the collection, without what the conversation has seen.
struct Shelf<'a> {
    collection: &'a Collection,
    loaded: &'a Arc<LoadedModel>,
    /// Keys that either side has shown.
    shown: HashSet<String>,
    /// Content hashes of all pictures of the conversation: the user's own may be in the collection too.
    seen: HashSet<[u8; 32]>,
    /// Vectors of all pictures of the conversation, where near duplicates of them are left out.
    unlike: Vec<Vec<f32>>,
    spread: Spread,
    cancelled: &'a dyn Fn() -> bool,
}

impl Retriever for Shelf<'_> {
    fn retrieve(&mut self, query: &[f32], limit: usize) -> Result<Vec<Retrieved>> {
        let what = Query { exclude: self.shown.clone(), spread: self.spread, ..Query::default() };
        let is_new = |hit: &Hit| hit.document.content_hash.is_none_or(|hash| !self.seen.contains(&hash));
        let mut wanted = limit;
        let new: Vec<Hit> = loop {
            let (hits, _) = self.collection.search_vector((query, &self.unlike), &what, wanted, self.cancelled)?;
            let is_all = hits.len() < wanted || wanted == LIMIT_MAX;
            let new: Vec<Hit> = hits.into_iter().filter(is_new).take(limit).collect();
            if new.len() == limit || is_all {
                break new;
            }
            wanted = (wanted * 2).min(LIMIT_MAX);
        };
        new.into_iter()
            .map(|hit| {
                self.shown.insert(hit.key.clone());
                self.seen.extend(hit.document.content_hash);
                let image: Option<Arc<EncodedImage>> = self.collection.image_of(self.loaded, &hit.document)?;
                Ok(Retrieved { hit, image })
            })
            .collect()
    }
}

/// Keeps the time, the words and the pictures of one reply.
struct Watch {
    begun: Instant,
    first_token_ms: Option<f32>,
    first_image_ms: Option<f32>,
    parts: Vec<Part>,
}

impl Watch {
    fn new(begun: Instant) -> Watch {
        Watch { begun, first_token_ms: None, first_image_ms: None, parts: Vec::new() }
    }

    fn elapsed_ms(&self) -> f32 {
        self.begun.elapsed().as_secs_f32() * 1e3
    }

    fn see(&mut self, event: &Event<'_>) {
        let now = self.elapsed_ms();
        self.first_token_ms.get_or_insert(now);
        match event {
            Event::Token { text, .. } => match self.parts.last_mut() {
                Some(Part::Text(words)) => words.push_str(text),
                _ => self.parts.push(Part::Text((*text).to_owned())),
            },
            Event::Images { retrieved, .. } => {
                self.first_image_ms.get_or_insert(now);
                self.parts.extend(retrieved.iter().map(|r| Part::ImageKey(r.hit.key.clone())));
            }
        }
    }

    fn summary(self, reply: Reply, forgotten_turns: usize) -> ChatSummary {
        let total_ms = self.elapsed_ms();
        let mut text = String::new();
        let mut shown = Vec::new();
        for part in self.parts {
            match part {
                Part::Text(words) => text.push_str(&words),
                Part::ImageKey(key) => shown.push(key),
                Part::Image(_) => {}
            }
        }
        ChatSummary {
            text,
            shown,
            reply,
            forgotten_turns,
            first_token_ms: self.first_token_ms.unwrap_or(total_ms),
            first_image_ms: self.first_image_ms,
            total_ms,
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
