//! What a member says in place of its usual answer, and when.

/// What a member says to `/case`, and when.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) moment: Moment,
    pub(super) steps: Vec<Step>,
    /// Whether it then closes its connection; else it waits for another request.
    pub(super) closes: bool,
}

/// When it begins.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Moment {
    /// A request's head is there.
    Head,
    /// A request is there.
    Whole,
}

/// One thing that it does.
#[derive(Clone)]
pub(super) enum Step {
    Say(Vec<u8>),
    Drip(Vec<u8>),
    /// Reads these bytes, which follow the request.
    Hear(&'static [u8]),
    /// Waits until the client has its answer.
    Later,
    Reset,
}

/// Says these bytes, and stays.
pub(super) fn says(bytes: impl AsRef<[u8]>) -> Script {
    Script { moment: Moment::Whole, steps: vec![Step::Say(bytes.as_ref().to_vec())], closes: false }
}

impl Script {
    pub(super) fn says(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Say(bytes.as_ref().to_vec()));
        self
    }

    /// Says these bytes one by one.
    pub(super) fn drips(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Drip(bytes.as_ref().to_vec()));
        self
    }

    pub(super) fn hears(mut self, bytes: &'static [u8]) -> Self {
        self.steps.push(Step::Hear(bytes));
        self
    }

    /// What follows is done once the client has its answer.
    pub(super) fn later(mut self) -> Self {
        self.steps.push(Step::Later);
        self
    }

    pub(super) fn closes(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(super) fn resets(mut self) -> Self {
        self.steps.push(Step::Reset);
        self.closes()
    }

    pub(super) fn at_head(mut self) -> Self {
        self.moment = Moment::Head;
        self
    }

    pub(super) fn waits(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Later))
    }
}

impl<const N: usize> From<&[u8; N]> for Script {
    fn from(bytes: &[u8; N]) -> Self {
        says(bytes)
    }
}

impl From<&[u8]> for Script {
    fn from(bytes: &[u8]) -> Self {
        says(bytes)
    }
}

impl From<Vec<u8>> for Script {
    fn from(bytes: Vec<u8>) -> Self {
        says(bytes)
    }
}
