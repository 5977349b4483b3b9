//! Figures over rounds, and tables of them: as Markdown or, with `--json`, as one JSON object in a line for each row.

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub struct Report {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Report {
    pub fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn print(&self) {
        if std::env::args().any(|argument| argument == "--json") {
            for row in &self.rows {
                let title = std::iter::once(("figures".to_owned(), self.title.clone()));
                let cells = self.columns.iter().map(|column| (*column).to_owned()).zip(row.iter().cloned());
                let object: serde_json::Map<_, _> = title.chain(cells).map(|(name, cell)| (name, cell.into())).collect();
                println!("{}", serde_json::Value::Object(object));
            }
            return;
        }
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| row[at].chars().count());
            cells.chain([self.columns[at].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let cells = cells.iter().zip(&widths).enumerate();
            let padded = cells.map(|(at, (cell, width))| if at == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") });
            println!("| {} |", padded.collect::<Vec<_>>().join(" | "));
        };
        println!("\n{}\n", self.title);
        line(self.columns.clone());
        let rules: Vec<String> =
            widths.iter().enumerate().map(|(at, width)| if at == 0 { "-".repeat(*width) } else { "-".repeat(width - 1) + ":" }).collect();
        line(rules.iter().map(String::as_str).collect());
        for row in &self.rows {
            line(row.iter().map(String::as_str).collect());
        }
    }
}
