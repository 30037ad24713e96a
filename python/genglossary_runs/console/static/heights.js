// Heights of rows that are laid out one below the other, and the place of each: a Fenwick tree, in which a change and a
// search take as many steps as the number of rows has binary digits.

export class Heights {
  #heights = [];
  #sums = [0];

  constructor(heights = []) {
    for (const height of heights) this.push(height);
  }

  get length() {
    return this.#heights.length;
  }

  /** The height of all rows together. */
  get total() {
    return this.top(this.length);
  }

  push(height) {
    const place = this.#heights.push(height);
    let sum = height;
    const first = place - (place & -place);
    for (let each = place - 1; each > first; each -= each & -each) sum += this.#sums[each];
    this.#sums[place] = sum;
  }

  get(index) {
    return this.#heights[index];
  }

  set(index, height) {
    const by = height - this.#heights[index];
    this.#heights[index] = height;
    for (let place = index + 1; place <= this.length; place += place & -place) this.#sums[place] += by;
  }

  /** The height of all rows before this one. */
  top(index) {
    let sum = 0;
    for (let place = index; place > 0; place -= place & -place) sum += this.#sums[place];
    return sum;
  }

  /** The row at this height, or the nearest one; -1 if there are none. */
  at(height) {
    let place = 0;
    let step = 1;
    while (step * 2 <= this.length) step *= 2;
    for (; step > 0; step >>= 1) {
      if (place + step <= this.length && this.#sums[place + step] <= height) {
        place += step;
        height -= this.#sums[place];
      }
    }
    return Math.min(place, this.length - 1);
  }
}
