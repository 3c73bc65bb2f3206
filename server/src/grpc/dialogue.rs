//! `DialogueService`: sessions, and the streamed `Chat`.

use std::pin::Pin;

use fromagerie::dialogue::{ChatSummary, Event, Finish, SessionInfo};
use fromagerie::{Database, Error};
use fromagerie_proto::v1::{self, chat_event, dialogue_service_server::DialogueService};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::blocking::blocking;
use super::convert;
use super::status::{missing, status};

type Answer<T> = Result<Response<T>, Status>;

/// Events that may wait for a slow client before the reply itself waits.
const EVENTS_WAITING_MAX: usize = 64;

pub(crate) struct Dialogue {
    db: Database,
}

impl Dialogue {
    pub(super) fn new(db: Database) -> Dialogue {
        Dialogue { db }
    }
}

#[tonic::async_trait]
impl DialogueService for Dialogue {
    async fn create_session(&self, request: Request<v1::CreateSessionRequest>) -> Answer<v1::Session> {
        let (db, request) = (self.db.clone(), request.into_inner());
        if request.collection.is_empty() {
            return Err(missing("collection", "the collection that pictures come from"));
        }
        let name = (!request.session_id.is_empty()).then_some(request.session_id);
        let made = blocking(move |_| db.create_session(&request.collection, name.as_deref())).await?;
        Ok(Response::new(session(made)))
    }

    async fn get_session(&self, request: Request<v1::GetSessionRequest>) -> Answer<v1::Session> {
        let (db, name) = (self.db.clone(), request.into_inner().name);
        Ok(Response::new(session(blocking(move |_| db.session(&name)).await?)))
    }

    async fn list_sessions(&self, request: Request<v1::ListSessionsRequest>) -> Answer<v1::ListSessionsResponse> {
        let (db, request) = (self.db.clone(), request.into_inner());
        let all = blocking(move |_| db.sessions()).await?;
        let (names, next_page_token) = convert::page(all, request.page_size, &request.page_token, String::as_str);
        let db = self.db.clone();
        let infos = blocking(move |_| names.iter().map(|name| db.session(name)).collect::<Result<Vec<_>, _>>()).await?;
        let sessions = infos.into_iter().map(|info| v1::Session { turns: Vec::new(), ..session(info) }).collect();
        Ok(Response::new(v1::ListSessionsResponse { sessions, next_page_token }))
    }

    async fn delete_session(&self, request: Request<v1::DeleteSessionRequest>) -> Answer<v1::DeleteSessionResponse> {
        let (db, name) = (self.db.clone(), request.into_inner().name);
        blocking(move |_| db.delete_session(&name)).await?;
        Ok(Response::new(v1::DeleteSessionResponse {}))
    }

    type ChatStream = Pin<Box<dyn Stream<Item = Result<v1::ChatEvent, Status>> + Send>>;

    async fn chat(&self, request: Request<v1::ChatRequest>) -> Answer<Self::ChatStream> {
        let request = request.into_inner();
        let parts = convert::parts(request.parts)?;
        let wire = request.options.unwrap_or_default();
        let options = convert::chat_options(&wire);
        let (send, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let db = self.db.clone();
        tokio::task::spawn_blocking(move || {
            let tell =
                |event| send.blocking_send(Ok(v1::ChatEvent { event: Some(event) })).map_err(|_| Error::Cancelled);
            let told =
                db.chat(&request.session, parts, &options, &|| send.is_closed(), &mut |event| match chat_event_of(
                    &event,
                    !wire.without_thumbnails,
                ) {
                    Some(event) => tell(event),
                    None => Ok(()),
                });
            // The client may be gone by now; then there is nobody to tell.
            let _ = match told {
                Ok(summary) => tell(chat_event::Event::Finished(finished(&summary))).map_err(|_| ()),
                Err(error) => send.blocking_send(Err(status(&error))).map_err(|_| ()),
            };
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }
}

fn chat_event_of(event: &Event<'_>, with_thumbnails: bool) -> Option<chat_event::Event> {
    match event {
        // Half of a character: its words come with the token that completes it.
        Event::Token { text: "", .. } => None,
        Event::Token { text, ret_probability, .. } => {
            Some(chat_event::Event::Text(v1::TextDelta { text: (*text).to_owned(), ret_probability: *ret_probability }))
        }
        Event::Images { ret_probability, retrieved, .. } => Some(chat_event::Event::Images(v1::ImagesRetrieved {
            hits: retrieved.iter().map(|r| convert::hit(r.hit.clone(), with_thumbnails)).collect(),
            ret_probability: *ret_probability,
        })),
    }
}

fn finished(summary: &ChatSummary) -> v1::ChatFinished {
    let reply = &summary.reply;
    v1::ChatFinished {
        reason: match reply.finish {
            Finish::Stop => v1::FinishReason::Stop,
            Finish::MaxTokens => v1::FinishReason::MaxTokens,
        } as i32,
        prompt_token_count: reply.prompt_tokens as u32,
        prompt_token_run_count: reply.prompt_tokens_run as u32,
        reply_token_count: reply.reply_tokens as u32,
        first_token_ms: summary.first_token_ms,
        first_image_ms: summary.first_image_ms.unwrap_or(0.0),
        total_ms: summary.total_ms,
        ret_probability_max: reply.ret_probability_max,
        forgotten_turn_count: summary.forgotten_turns as u32,
    }
}

fn session(info: SessionInfo) -> v1::Session {
    v1::Session {
        name: info.name,
        collection: info.collection,
        turns: info.turns.into_iter().map(convert::session_turn).collect(),
        create_time: Some(prost_types::Timestamp { seconds: info.created as i64, nanos: 0 }),
    }
}
