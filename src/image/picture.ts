/** Pictures in memory. */

/** 8 bits a sample, row by row from the top, channels together. */
export interface ImageData8 {
  readonly width: number;
  readonly height: number;
  /** 1: grey, 3: red, green, blue. */
  readonly channels: 1 | 3;
  /** [height, width, channels] */
  readonly data: Uint8Array;
}
