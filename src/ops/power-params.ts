// How long a guest may take to do as it is asked, and what follows: the same for every operation that asks one.
import { z } from 'zod';

export const guestTimeoutSecondsDefault = 60;
export const guestTimeoutSecondsMax = 3600;

export const PowerParams = {
  /** When the guest does not do it in time: by force. */
  force: z.boolean().default(false),
  timeoutSeconds: z.number().int().min(0).max(guestTimeoutSecondsMax).default(guestTimeoutSecondsDefault),
};
