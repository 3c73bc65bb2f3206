//! The dialogue loop: one reply, token by token, with the pictures that `[RET]` asks for.
//!
//! The loop owns no state but the context and its cache. What is shown comes from a [`Retriever`], so that the
//! loop can be tested with a table, and `generate` can run with no database at all.

use std::sync::Arc;

use fromagerie_models::{Forward, Model, TokenStream};

use super::context::{Atom, visual};
use super::decide::{Decider, RetControl, Sampling};
use super::live::{LiveContext, embedding_at_end, last_retrieval};
use crate::encoder::EncodedImage;
use crate::error::{Error, Result};
use crate::vector::unit;

/// How one reply is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplyOptions {
    /// Most tokens of the reply.
    pub tokens_max: usize,
    /// What is done to the logit of `[RET]`.
    pub ret: RetControl,
    /// Most `[RET]` in the reply; 0: no pictures.
    pub rets_max: usize,
    /// Pictures for each `[RET]`.
    pub images_per_ret: usize,
    /// Fewest `[RET]` in the reply: those that the model did not choose are put at its end.
    pub rets_min: usize,
    /// End the reply at a newline, as the reference does.
    pub stop_at_newline: bool,
    /// Take an end of text for a token like others.
    pub ignore_stops: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Reuse keys and values. Off, the whole context is run for each token: the reference's way, for comparison.
    pub reuse_cache: bool,
}

/// A picture that the loop shows.
#[derive(Clone, Debug)]
pub struct Retrieved {
    /// What was found.
    pub hit: crate::Hit,
    /// Its visual tokens, when there is a picture behind it.
    pub image: Option<Arc<EncodedImage>>,
}

/// Where pictures come from.
pub trait Retriever {
    /// The pictures for `query` (the unit `[RET]` state), best first and new to the conversation.
    fn retrieve(&mut self, query: &[f32], limit: usize) -> Result<Vec<Retrieved>>;
}

/// What happens while a reply is made.
#[derive(Debug)]
pub enum Event<'a> {
    /// A token was chosen.
    Token {
        /// Its number in the vocabulary.
        id: u32,
        /// The words that became complete with it; may be empty.
        text: &'a str,
        /// P(`[RET]`) at this step.
        ret_probability: f32,
    },
    /// `[RET]` was chosen, and these are its pictures.
    Images {
        /// P(`[RET]`) at this step.
        ret_probability: f32,
        /// `[dim]`, unit length.
        query: &'a [f32],
        /// Best first; empty when nothing is left to show.
        retrieved: &'a [Retrieved],
    },
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    Stop,
    /// It reached `tokens_max`.
    MaxTokens,
}

/// A finished reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What was said, pictures included, without the template's prefix and suffix.
    pub atoms: Vec<Atom>,
    /// Why it ended.
    pub finish: Finish,
    /// Positions of the prompt.
    pub prompt_tokens: usize,
    /// Those that had to be run, because no cache had them.
    pub prompt_tokens_run: usize,
    /// Tokens chosen, `[RET]` included.
    pub reply_tokens: usize,
    /// Highest P(`[RET]`).
    pub ret_probability_max: f32,
}

/// The exchange that queries are made from: the preamble, the user's turn and the reply's opening.
#[derive(Debug)]
pub struct Exchange {
    /// What the model reads for a query, before the reply itself.
    pub atoms: Vec<Atom>,
    /// A context of its own, which has read the preamble.
    pub live: LiveContext,
}

/// What a reply answers.
#[derive(Debug, Default)]
pub struct Prompt {
    /// What the model reads.
    pub atoms: Vec<Atom>,
    /// What queries are made from, up to where the reply begins, when that is not all of `atoms`.
    pub exchange: Option<Exchange>,
    /// `[dim]` or empty: added to each query before it is normalised (the user's own pictures, weighted).
    pub query_extra: Vec<f32>,
}

/// The one who replies: a model, what it has read, and whom it talks to.
pub struct Speaker<'a> {
    /// The model.
    pub model: &'a dyn Model,
    /// What it has read so far; reused and brought up to date.
    pub live: &'a mut LiveContext,
    /// The conversation's pictures by number; those that are retrieved are appended.
    pub images: &'a mut Vec<Arc<EncodedImage>>,
    /// Where pictures come from.
    pub retriever: &'a mut dyn Retriever,
    /// True once nobody waits for the reply.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Told of each step; an error ends the reply.
    pub on_event: &'a mut dyn FnMut(Event<'_>) -> Result<()>,
}

impl Speaker<'_> {
    /// One reply to `prompt`.
    ///
    /// # Errors
    /// [`Error::Cancelled`] within one token of `cancelled` turning true; whatever the model or the retriever says.
    pub fn reply(mut self, mut prompt: Prompt, options: &ReplyOptions) -> Result<Reply> {
        let mut context = prompt.atoms.clone();
        let (mut forward, prompt_tokens_run) = self.read(&context, options)?;
        let mut said = Said::new(self.model, options);
        let mut reply = Reply::of(&prompt, prompt_tokens_run);
        loop {
            if (self.cancelled)() {
                return Err(Error::Cancelled);
            }
            let step = said.choose(&mut forward, &mut reply, options);
            match step {
                Step::End(finish) => {
                    reply.finish = finish;
                    break;
                }
                Step::Ret { token, ret_probability } => {
                    context.push(Atom::Token(token));
                    forward = self.read(&context, options)?.0;
                    self.show(&forward, ret_probability, &mut prompt, options, &mut context)?;
                }
                Step::Word { token, ret_probability } => {
                    let text = said.words.push(token)?.unwrap_or_default();
                    (self.on_event)(Event::Token { id: token, text: &text, ret_probability })?;
                    context.push(Atom::Token(token));
                    if options.stop_at_newline && text.contains('\n') {
                        reply.finish = Finish::Stop;
                        break;
                    }
                }
            }
            if context.len() >= self.model.manifest().language_model.max_position_embeddings as usize {
                break;
            }
            if context.len() > self.live.len() {
                forward = self.read(&context, options)?.0;
            }
        }
        self.live.rest()?;
        reply.atoms = context.split_off(prompt.atoms.len());
        Ok(reply)
    }

    fn read(&mut self, context: &[Atom], options: &ReplyOptions) -> Result<(Forward, usize)> {
        self.live.read(self.model, self.images, context, options.reuse_cache)
    }

    /// The unit `[RET]` state: of the whole context, which was just read, or of the exchange alone.
    fn query(&mut self, forward: &Forward, prompt: &mut Prompt, context: &[Atom]) -> Result<Vec<f32>> {
        let Some(exchange) = &mut prompt.exchange else {
            return last_retrieval(self.model, forward);
        };
        let reply = &context[prompt.atoms.len()..];
        let atoms = [&exchange.atoms, reply].concat();
        embedding_at_end(self.model, &mut exchange.live, self.images, &atoms)
    }

    /// Retrieves for the `[RET]` that was just read, and makes what was found part of the context.
    fn show(
        &mut self,
        forward: &Forward,
        ret_probability: f32,
        prompt: &mut Prompt,
        options: &ReplyOptions,
        context: &mut Vec<Atom>,
    ) -> Result<()> {
        let mut query = self.query(forward, prompt, context)?;
        if !prompt.query_extra.is_empty() {
            query.iter_mut().zip(&prompt.query_extra).for_each(|(q, extra)| *q += extra);
            query = unit(query)?;
        }
        let retrieved = self.retriever.retrieve(&query, options.images_per_ret)?;
        (self.on_event)(Event::Images { ret_probability, query: &query, retrieved: &retrieved })?;
        for image in retrieved.into_iter().filter_map(|r| r.image) {
            context.extend(visual(self.images.len() as u32, self.model.manifest().vision.num_visual_tokens as usize));
            self.images.push(image);
        }
        Ok(())
    }
}

/// What to do next.
enum Step {
    End(Finish),
    Ret { token: u32, ret_probability: f32 },
    Word { token: u32, ret_probability: f32 },
}

/// What was said so far in one reply.
struct Said<'m> {
    model: &'m dyn Model,
    decider: Decider,
    words: TokenStream<'m>,
    tokens: Vec<u32>,
    rets: usize,
}

impl<'m> Said<'m> {
    fn new(model: &'m dyn Model, options: &ReplyOptions) -> Said<'m> {
        Said {
            model,
            decider: Decider::new(&model.manifest().retrieval.ret_token_ids, options.ret, options.sampling),
            words: model.token_stream(),
            tokens: Vec::new(),
            rets: 0,
        }
    }

    fn choose(&mut self, forward: &mut Forward, reply: &mut Reply, options: &ReplyOptions) -> Step {
        for &id in &self.model.generation().suppress_tokens {
            if let Some(logit) = forward.logits.get_mut(id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        let decision = self.decider.decide(&mut forward.logits, &self.tokens, self.rets < options.rets_max);
        let ret_probability = decision.ret_probability;
        reply.ret_probability_max = reply.ret_probability_max.max(ret_probability);
        let full = reply.reply_tokens >= options.tokens_max;
        let stops = !options.ignore_stops && self.model.generation().is_eos(decision.token);
        let force = self.rets < options.rets_min && (full || stops);
        if (full || stops) && !force {
            return Step::End(if stops { Finish::Stop } else { Finish::MaxTokens });
        }
        reply.reply_tokens += 1;
        if force || self.decider.is_ret(decision.token) {
            self.rets += 1;
            let token = if force { self.model.manifest().retrieval.ret_token_ids[0] } else { decision.token };
            return Step::Ret { token, ret_probability };
        }
        self.tokens.push(decision.token);
        Step::Word { token: decision.token, ret_probability }
    }
}

impl Reply {
    fn of(prompt: &Prompt, prompt_tokens_run: usize) -> Reply {
        Reply {
            atoms: Vec::new(),
            finish: Finish::MaxTokens,
            prompt_tokens: prompt.atoms.len(),
            prompt_tokens_run,
            reply_tokens: 0,
            ret_probability_max: 0.0,
        }
    }
}
