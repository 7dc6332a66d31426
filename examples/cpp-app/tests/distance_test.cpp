#include <iostream>
#include <string_view>

#include "distance.hpp"

struct Case {
	std::string_view from;
	std::string_view to;
	std::size_t expected;
};

int main()
{
	constexpr Case cases[] = {
		{"", "", 0},        {"", "abc", 3},          {"abc", "", 3},
		{"abc", "abc", 0},  {"abc", "abd", 1},       {"abc", "ac", 1},
		{"flaw", "lawn", 2}, {"kitten", "sitting", 3},
	};
	int failed = 0;
	for (const Case &c : cases) {
		const std::size_t found = distance(c.from, c.to);
		if (found != c.expected || distance(c.to, c.from) != c.expected) {
			std::cerr << c.from << " to " << c.to << ": " << found << '\n';
			++failed;
		}
	}
	return failed == 0 ? 0 : 1;
}
