// What is wrong with an inventory file, and where: a place that an editor can jump to, a sentence, and the mend.

export type Problem = {
  readonly file: string;
  /** From 1; 0 when the file as a whole is meant. */
  readonly line: number;
  /** From 1; 0 when the file as a whole is meant. */
  readonly column: number;
  /** Names the place and what is wrong with it; no full stop at the end. */
  readonly message: string;
  /** The mend: one sentence. */
  readonly hint?: string;
};

export type Complaint = { message: string; hint?: string | undefined };

/** One line: `inventory.yaml:12:5: host "kvm-01": ssh.port must be … . Write …` */
export function formatProblem({ file, line, column, message, hint }: Problem): string {
  const place = line > 0 ? `${file}:${line}:${column}` : file;
  return `${place}: ${message}${hint ? `. ${hint}` : ''}`;
}

export function makeProblem(
  file: string,
  at: { line: number; column: number },
  { message, hint }: Complaint,
): Problem {
  return { file, line: at.line, column: at.column, message, ...(hint !== undefined && { hint }) };
}
