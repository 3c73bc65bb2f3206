//! The choice of the next token, and with it whether a picture belongs here. Pure: logits in, a decision out.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0: greedy.
    pub temperature: f32,
    /// Only the likeliest tokens whose probabilities sum to this; 1: all.
    pub top_p: f32,
    /// Divides positive and multiplies negative logits of tokens that the reply has already; 1: off.
    pub repetition_penalty: f32,
    /// For temperatures above 0.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 0.0, top_p: 1.0, repetition_penalty: 1.0, seed: 0 }
    }
}

/// What is done to the logit of `[RET]` before anything is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetControl {
    /// Added to the log-odds.
    pub bias: f32,
    /// Multiplies the logit, as the reference does.
    pub scale: f32,
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The token chosen.
    pub token: u32,
    /// P(`[RET]`) after bias and scale, before temperature; 0 when `[RET]` is not allowed.
    pub ret_probability: f32,
}

/// Chooses tokens for one reply.
#[derive(Debug)]
pub struct Decider {
    ret_ids: Vec<u32>,
    control: RetControl,
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Decider {
    /// A decider for a reply; equal arguments make equal choices.
    pub fn new(ret_ids: &[u32], control: RetControl, sampling: Sampling) -> Decider {
        Decider { ret_ids: ret_ids.to_vec(), control, sampling, random: ChaCha8Rng::seed_from_u64(sampling.seed) }
    }

    /// True for `[RET]`.
    pub fn is_ret(&self, token: u32) -> bool {
        self.ret_ids.contains(&token)
    }

    /// The next token after `reply` (the tokens of this reply so far).
    ///
    /// `logits`: `[vocab]`, changed in place. With `ret_allowed` false, `[RET]` cannot be chosen.
    pub fn decide(&mut self, logits: &mut [f32], reply: &[u32], ret_allowed: bool) -> Decision {
        self.control_ret(logits, ret_allowed);
        let ret_probability = self.ret_probability(logits);
        penalise(logits, reply, self.sampling.repetition_penalty);
        let token = if self.sampling.temperature > 0.0 { self.sample(logits) } else { argmax(logits) };
        Decision { token, ret_probability }
    }

    fn control_ret(&self, logits: &mut [f32], ret_allowed: bool) {
        for &id in &self.ret_ids {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if ret_allowed { *logit * self.control.scale + self.control.bias } else { f32::NEG_INFINITY };
            }
        }
    }

    fn ret_probability(&self, logits: &[f32]) -> f32 {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = logits.iter().map(|l| (l - top).exp()).sum();
        let ret: f32 = self.ret_ids.iter().filter_map(|&id| logits.get(id as usize)).map(|l| (l - top).exp()).sum();
        ret / total
    }

    fn sample(&mut self, logits: &[f32]) -> u32 {
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
        let top = logits[order[0] as usize];
        let weight = |id: u32| ((logits[id as usize] - top) / self.sampling.temperature).exp();
        let total: f32 = order.iter().map(|&id| weight(id)).sum();
        let mut kept = 0;
        let mut mass = 0.0;
        while kept < order.len() && mass < self.sampling.top_p * total {
            mass += weight(order[kept]);
            kept += 1;
        }
        let mut left = self.random.next_u32() as f32 / u32::MAX as f32 * mass;
        for &id in &order[..kept] {
            left -= weight(id);
            if left <= 0.0 {
                return id;
            }
        }
        order[kept.saturating_sub(1)]
    }
}

/// The first of the largest.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

fn penalise(logits: &mut [f32], reply: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut seen: Vec<u32> = reply.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RET: u32 = 2;

    fn decider(bias: f32, scale: f32, sampling: Sampling) -> Decider {
        Decider::new(&[RET], RetControl { bias, scale }, sampling)
    }

    #[test]
    fn a_bias_adds_to_the_log_odds() {
        let odds = |bias: f32| {
            let p = decider(bias, 1.0, Sampling::default()).decide(&mut [0.3, -1.0, 0.1], &[], true).ret_probability;
            (p / (1.0 - p)).ln()
        };
        assert!((odds(1.5) - odds(0.0) - 1.5).abs() < 1e-5);
    }

    #[test]
    fn a_scale_makes_a_negative_logit_less_likely() {
        let p =
            |scale| decider(0.0, scale, Sampling::default()).decide(&mut [0.0, 0.0, -1.0], &[], true).ret_probability;
        assert!(p(2.0) < p(1.0));
    }

    #[test]
    fn ret_is_never_chosen_where_it_is_not_allowed() {
        let decision = decider(100.0, 1.0, Sampling::default()).decide(&mut [0.0, 1.0, 5.0], &[], false);
        assert_eq!(decision, Decision { token: 1, ret_probability: 0.0 });
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(decider(0.0, 1.0, Sampling::default()).decide(&mut [1.0, 1.0, 1.0], &[], true).token, 0);
    }

    #[test]
    fn the_same_seed_samples_the_same_and_top_p_cuts_the_tail() {
        let sampling = Sampling { temperature: 1.0, top_p: 0.6, seed: 7, ..Sampling::default() };
        let draw = || {
            let mut decider = decider(0.0, 1.0, sampling);
            (0..50).map(|_| decider.decide(&mut [2.0, 0.0, 0.0, 0.1], &[], true).token).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        assert!(draw().iter().all(|&t| t == 0), "0.6 of the mass is the first token alone");
    }

    #[test]
    fn a_penalty_turns_away_from_what_was_said() {
        let sampling = Sampling { repetition_penalty: 2.0, ..Sampling::default() };
        assert_eq!(decider(0.0, 1.0, sampling).decide(&mut [1.0, 0.9, 0.0], &[0], true).token, 1);
    }
}
