/** Figures with properties of their own in place of getters, to compare with what is expected. */
export function plain(figures: object): object {
  return (figures as { toJSON(): object }).toJSON();
}

/** Rows of numbers with properties of their own in place of getters, to compare with what is expected. */
export function plainRows<Row extends object>(rows: readonly Row[]): Row[] {
  return rows.map((row) => (row as Row & { toJSON(): Row }).toJSON());
}
