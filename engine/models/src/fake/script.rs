//! What the fake says to what.

/// Rules from a word to a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The rule tried first is last.
    rules: Vec<(String, String)>,
}

impl Default for Script {
    fn default() -> Self {
        let asks = ["show", "picture", "image", "photo", "another"];
        let rules = asks.map(|word| (word.to_owned(), "Here it is:[RET]".to_owned()));
        Self { rules: rules.to_vec() }
    }
}

impl Script {
    /// Adds a rule before all others.
    pub fn add(&mut self, trigger: &str, reply: &str) {
        self.rules.push((trigger.to_lowercase(), reply.to_owned()));
    }

    /// The reply to what the user said.
    pub fn reply(&self, question: &str) -> String {
        let said: Vec<String> = question.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).collect();
        let fits = |(trigger, _): &&(String, String)| trigger.is_empty() || said.contains(trigger);
        match self.rules.iter().rev().find(fits) {
            Some((_, reply)) => reply.clone(),
            None => format!("You said: {}", question.trim()),
        }
    }
}
