//! What is drawn depends on the seed alone.

use crate::model::Type;

pub(crate) struct Dice {
    random: fastrand::Rng,
    counted: std::cell::Cell<usize>,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), counted: std::cell::Cell::new(0) }
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.random.usize(..sides)
    }

    /// One of these, where there is any.
    pub(crate) fn one_of<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        self.random.choice(of).cloned()
    }

    /// A number that was never given before.
    pub(crate) fn count(&self) -> usize {
        self.counted.set(self.counted.get() + 1);
        self.counted.get()
    }

    /// A name that was never given before; some need quotes.
    pub(crate) fn name(&mut self, of: &str) -> String {
        match self.roll(3) {
            0 => format!("{of} {}", self.count()),
            1 => format!("{}{}", of.to_uppercase(), self.count()),
            _ => format!("{of}{}", self.count()),
        }
    }

    /// A value that was never given before; some fit other types, too.
    pub(crate) fn value(&mut self, ty: Type) -> String {
        self.value_above(0, ty)
    }

    /// The same, and no version, tick or default looks like it.
    pub(crate) fn rare_value(&mut self, ty: Type) -> String {
        self.value_above(20_000, ty)
    }

    fn value_above(&mut self, least: usize, ty: Type) -> String {
        let number = least + self.count();
        match (ty, self.roll(2)) {
            (Type::Text, 0) => format!("w{number}"),
            (Type::Int4, 0) => format!("{}", 100_000 + number),
            (Type::Int8, 0) => format!("{}", 10_000_000_000 + number),
            _ => number.to_string(),
        }
    }
}
