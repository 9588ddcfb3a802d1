//! One table: what, two columns of figures, what they should be, and whether they are.

/// How binding a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// Missed: the bench fails.
    Always,
    /// Missed: the full form fails, the short form warns.
    FullForm,
}

struct Row {
    what: String,
    figures: Vec<String>,
    target: String,
    missed: Option<Binding>,
}

/// The table as it grows.
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn new() -> Table {
        Table(Vec::new())
    }

    /// A row without a target.
    pub(crate) fn row(&mut self, what: &str, figures: &[String]) {
        self.0.push(Row { what: what.to_owned(), figures: figures.to_vec(), target: String::new(), missed: None });
    }

    /// A row with a target, which `met` says whether it was reached.
    pub(crate) fn target(&mut self, what: &str, figures: &[String], target: &str, met: bool, binding: Binding) {
        let missed = (!met).then_some(binding);
        self.0.push(Row { what: what.to_owned(), figures: figures.to_vec(), target: target.to_owned(), missed });
    }

    /// All rows, for the table of another process: [`Table::read`] takes them.
    #[allow(dead_code, reason = "the program `inside` writes, the bench reads")]
    pub(crate) fn write(&self) -> String {
        let missed = |row: &Row| match row.missed {
            None => "",
            Some(Binding::Always) => "always",
            Some(Binding::FullForm) => "full",
        };
        self.0.iter().map(|row| format!("{}\t{}\t{}\t{}\n", row.what, row.target, missed(row), row.figures.join("\t"))).collect()
    }

    /// Rows that another process wrote.
    pub(crate) fn read(&mut self, text: &str) {
        for line in text.lines() {
            let mut parts = line.split('\t').map(str::to_owned);
            let mut part = || parts.next().unwrap_or_default();
            let (what, target, missed) = (part(), part(), part());
            let missed = match missed.as_str() {
                "always" => Some(Binding::Always),
                "full" => Some(Binding::FullForm),
                _ => None,
            };
            self.0.push(Row { what, figures: parts.collect(), target, missed });
        }
    }

    /// Prints all of it; whether every target that binds in this form was reached.
    pub(crate) fn print(&self, short: bool) -> bool {
        println!("{:<62} {:>12} {:>12}   target", "", "steady", "presence");
        let mut good = true;
        for row in &self.0 {
            let figure = |index: usize| row.figures.get(index).map_or("", String::as_str);
            let verdict = match row.missed {
                None => "",
                Some(Binding::FullForm) if short => "  missed (a warning in the short form)",
                Some(_) => {
                    good = false;
                    "  MISSED"
                }
            };
            println!("{:<62} {:>12} {:>12}   {}{verdict}", row.what, figure(0), figure(1), row.target);
        }
        good
    }
}
