#include <algorithm>
#include <iostream>
#include <string_view>
#include <vector>

#include "distance.hpp"

int main(int count, char **words)
{
	if (count < 3) {
		std::cerr << "usage: closest WORD KNOWN...\n";
		return 2;
	}
	const std::string_view word = words[1];
	const std::vector<std::string_view> known(words + 2, words + count);
	std::cout << *std::min_element(known.begin(), known.end(), [&](auto one, auto other) {
		return distance(word, one) < distance(word, other);
	}) << '\n';
}
